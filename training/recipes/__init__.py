"""What `train` and `quantize` do: teachers, students, distillation, delivery."""
