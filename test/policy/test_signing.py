"""Signatures of policy files: what is taken, and what is refused by name."""

from __future__ import annotations

import pytest
from policy_builders import random_artifact

from qpolicy_ros.cli.main import main
from qpolicy_ros.common.errors import InputError, PolicyError
from qpolicy_ros.policy import load_policy, save_policy
from qpolicy_ros.policy.signing import PASSWORD, TrustedKeys, sign_file, signature_path

pytest.importorskip("cryptography")
from signing_keys import write_keys


@pytest.fixture
def policy(tmp_path):
    file = tmp_path / "p.safetensors"
    save_policy(random_artifact(1), file)
    return file


@pytest.mark.parametrize("ssh", [False, True])
def test_a_signed_policy_is_taken(policy, tmp_path, ssh):
    key, public = write_keys(tmp_path, "own", ssh=ssh)
    before = policy.read_bytes()
    assert sign_file(policy, key) == signature_path(policy)
    assert policy.read_bytes() == before
    other = write_keys(tmp_path, "other")[1]
    assert load_policy(policy, TrustedKeys([other, public])).network is not None


def test_an_unsigned_policy_is_refused(policy, tmp_path):
    trusted = TrustedKeys([write_keys(tmp_path, "own")[1]])
    with pytest.raises(PolicyError, match=r"the policy is not signed: there is no p\."):
        load_policy(policy, trusted)
    assert load_policy(policy)


def test_another_signature_is_refused(policy, tmp_path):
    sign_file(policy, write_keys(tmp_path, "stranger")[0])
    with pytest.raises(PolicyError, match="none of the trusted keys"):
        load_policy(policy, TrustedKeys([write_keys(tmp_path, "own")[1]]))


def test_an_altered_policy_is_refused_before_it_is_parsed(policy, tmp_path):
    key, public = write_keys(tmp_path, "own")
    sign_file(policy, key)
    content = policy.read_bytes()
    for place in (0, 9, len(content) // 2, len(content) - 1):
        policy.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        with pytest.raises(PolicyError, match=r"signature: .* the file was altered"):
            load_policy(policy, TrustedKeys([public]))


@pytest.mark.parametrize("content", [b"", b"x" * 63, b"x" * 65])
def test_what_is_no_signature_is_named(policy, tmp_path, content):
    signature_path(policy).write_bytes(content)
    with pytest.raises(PolicyError, match=r"p\.safetensors\.sig: signature: .* has 64"):
        load_policy(policy, TrustedKeys([write_keys(tmp_path, "own")[1]]))


def test_a_key_with_a_password(policy, tmp_path, monkeypatch):
    key, public = write_keys(tmp_path, "own", password=b"secret")
    with pytest.raises(InputError, match=PASSWORD):
        sign_file(policy, key)
    monkeypatch.setenv(PASSWORD, "wrong")
    with pytest.raises(InputError, match=r"own\.key: key: is no key"):
        sign_file(policy, key)
    monkeypatch.setenv(PASSWORD, "secret")
    sign_file(policy, key)
    assert load_policy(policy, TrustedKeys([public]))


@pytest.mark.parametrize("content", ["", "hello", "-----BEGIN PUBLIC KEY-----\nAAAA\n"])
def test_a_key_that_is_none_is_one_line(tmp_path, content):
    file = tmp_path / "x.pub"
    file.write_text(content)
    with pytest.raises(InputError, match=r"x\.pub: key: ") as error:
        TrustedKeys([file])
    assert "\n" not in str(error.value)


def test_a_private_key_is_not_trusted(tmp_path):
    with pytest.raises(InputError, match="a private key, which no robot needs"):
        TrustedKeys([write_keys(tmp_path, "own")[0]])


def test_the_command_signs_and_checks(policy, tmp_path, capsys):
    key, public = write_keys(tmp_path, "own")
    assert main(["sign", str(policy), "--key", str(key)]) == 0
    assert main(["sign", str(policy), "--check", str(public)]) == 0
    assert main(["sign", str(policy), "--check", str(write_keys(tmp_path, "other")[1])]) == 2
    assert main(["sign", str(policy)]) == 2
    assert "give --key to sign, or --check" in capsys.readouterr().err
