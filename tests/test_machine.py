"""What is recorded of the machine."""

import pathlib

from fedmed.system import machine

CPUINFO = """processor\t: 0
model name\t: AMD EPYC
cpu family\t: 25
model\t\t: 17
flags\t\t: fpu sse avx avx2 fma avx512f avx512_vnni

processor\t: 1
model name\t: another
"""


def test_the_processor_is_told_by_name_number_and_instructions(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "cpuinfo"
    path.write_text(CPUINFO)
    found = machine.processor(path)
    assert found.model == "AMD EPYC (family 25, model 17)"
    assert found.instructions == ("avx", "avx2", "fma", "avx512f", "avx512_vnni")


def test_a_machine_that_does_not_tell_has_a_name_all_the_same(tmp_path: pathlib.Path) -> None:
    found = machine.processor(tmp_path / "absent")
    assert found.model
    assert found.cores >= 1
    assert found.instructions == ()
