// The AXI4-Lite wrapper under Verilator as a bus master sees it: one access a call.
//
// Every access advances the clock by the cycles that it takes. Returns 0 for OKAY, the bus's
// response code for a refusal, -1 where the slave does not answer within BUS_LIMIT cycles.
#include <cstdint>
#include <memory>

#include "Vtop.h"
#include "verilated.h"

namespace {
constexpr int kBusLimit = 10000;

struct Bus {
    VerilatedContext context;
    Vtop top{&context};

    void tick() {
        top.s_axi_aclk = 1;
        top.eval();
        top.s_axi_aclk = 0;
        top.eval();
    }
};
}  // namespace

extern "C" {

void *axi_new() {
    auto *bus = new Bus;
    Vtop &top = bus->top;
    top.s_axi_aclk = 0;
    top.s_axi_aresetn = 0;
    top.s_axi_awprot = top.s_axi_arprot = 0;
    top.s_axi_awvalid = top.s_axi_wvalid = top.s_axi_arvalid = 0;
    top.s_axi_bready = top.s_axi_rready = 1;
    for (int i = 0; i < 4; ++i) bus->tick();
    top.s_axi_aresetn = 1;
    bus->tick();
    return bus;
}

void axi_free(void *handle) { delete static_cast<Bus *>(handle); }

int axi_write(void *handle, uint32_t address, uint32_t data) {
    auto *bus = static_cast<Bus *>(handle);
    Vtop &top = bus->top;
    top.s_axi_awaddr = address;
    top.s_axi_wdata = data;
    top.s_axi_wstrb = 15;
    top.s_axi_awvalid = top.s_axi_wvalid = 1;
    int response = -1;
    for (int cycle = 0; cycle < kBusLimit && response < 0; ++cycle) {
        top.eval();
        const bool address_taken = top.s_axi_awvalid && top.s_axi_awready;
        const bool data_taken = top.s_axi_wvalid && top.s_axi_wready;
        if (top.s_axi_bvalid) response = top.s_axi_bresp;
        bus->tick();
        if (address_taken) top.s_axi_awvalid = 0;
        if (data_taken) top.s_axi_wvalid = 0;
    }
    top.s_axi_awvalid = top.s_axi_wvalid = 0;
    top.eval();
    return response;
}

int axi_read(void *handle, uint32_t address, uint32_t *data) {
    auto *bus = static_cast<Bus *>(handle);
    Vtop &top = bus->top;
    top.s_axi_araddr = address;
    top.s_axi_arvalid = 1;
    int response = -1;
    for (int cycle = 0; cycle < kBusLimit && response < 0; ++cycle) {
        top.eval();
        const bool address_taken = top.s_axi_arvalid && top.s_axi_arready;
        if (top.s_axi_rvalid) {
            response = top.s_axi_rresp;
            *data = top.s_axi_rdata;
        }
        bus->tick();
        if (address_taken) top.s_axi_arvalid = 0;
    }
    top.s_axi_arvalid = 0;
    top.eval();
    return response;
}

// `count` words from `address` on; stops at the first refusal.
int axi_write_block(void *handle, uint32_t address, const uint32_t *data, int count) {
    for (int i = 0; i < count; ++i)
        if (int response = axi_write(handle, address + 4 * i, data[i])) return response;
    return 0;
}

int axi_read_block(void *handle, uint32_t address, uint32_t *data, int count) {
    for (int i = 0; i < count; ++i)
        if (int response = axi_read(handle, address + 4 * i, data + i)) return response;
    return 0;
}

int axi_interrupt(void *handle) {
    auto *bus = static_cast<Bus *>(handle);
    bus->top.eval();
    return bus->top.irq;
}
}
