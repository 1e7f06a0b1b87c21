"""codegen header: what compilers say of the files, what is in them, what is refused."""

import json
import re
import shutil
import subprocess
import zlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

from codegen.__main__ import main
from codegen.errors import BuildError
from codegen.headers.c_text import c_float, c_string, identifiers
from codegen.headers.heads import match_heads
from codegen.headers.isa import isa_header
from codegen.headers.regs import regs_header
from codegen.headers.source import read_source
from codegen.headers.tensors import descriptors
from hw.spec.config import PRESETS, ArrayConfig
from hw.spec.image import Image
from hw.spec.isa import Isa, Opcode
from hw.spec.regs import REGISTERS, Fault
from tests import onnx_nodes as n
from tests.builds import build_folder
from tests.firmware.compilers import CPP, FIRMWARE, GCC, ZIG, C, compile_c
from tests.firmware.engine_states import ENGINE
from tests.sim.squares import quantized_model

ARRAY = {"macrame_isa.h", "macrame_model.c", "macrame_model.h", "macrame_regs.h",
         "macrame_weights.c", "macrame_weights.h"}
INCBIN = ARRAY - {"macrame_weights.c"} | {"macrame_weights.S", "macrame_image.bin"}


@pytest.fixture(scope="module")
def squares(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A build whose model has heads."""
    folder = tmp_path_factory.mktemp("squares")
    onnx.save(quantized_model(), folder / "m.onnx")
    return build_folder(folder / "m.onnx", folder / "build").path


def small_build(folder: Path, names: Sequence[str] = ("x",), output: str = "y") -> Path:
    """A build of additions with these inputs, at least one, and one output."""
    rng = np.random.default_rng(0)
    proto = n.unary("QLinearLeakyRelu", (1, 3, 4, 4), rng=rng)
    proto.graph.node[0].input[0], proto.graph.input[0].name = names[0], names[0]
    last = "y"
    for index, name in enumerate(names[1:]):
        add = n.node("QLinearAdd", [last, "y_scale", "y_zero_point", name, "y_scale",
                                    "y_zero_point", "y_scale", "y_zero_point"], [f"sum{index}"])
        proto.graph.node.append(add)
        proto.graph.input.append(helper.make_tensor_value_info(name, onnx.TensorProto.INT8,
                                                               [1, 3, 4, 4]))
        last = f"sum{index}"
    proto.graph.node[-1].output[0] = proto.graph.output[0].name = output
    folder.mkdir(parents=True, exist_ok=True)
    onnx.save(proto, folder / "m.onnx")
    return build_folder(folder / "m.onnx", folder / "build").path


def headers(build: Path, folder: Path, *options: str) -> Path:
    assert main(["header", str(build), "-o", str(folder), *options]) == 0
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("language", [C, CPP], ids=["c", "c++"])
@pytest.mark.parametrize("compiler", [GCC, ZIG], ids=["gcc", "clang"])
def test_headers_compile_without_warnings(squares: Path, tmp_path: Path, compiler: Sequence[str],
                                          language: Sequence[str]) -> None:
    folder = headers(squares, tmp_path / "h")
    source = tmp_path / "all.c"
    for order in (sorted(ARRAY), sorted(ARRAY, reverse=True)):
        names = [name for name in order if name.endswith(".h")]
        source.write_text("".join(f'#include "{name}"\n' for name in names * 2)
                          + "int use(void);\n"
                            "int use(void) { return (int)macrame_inputs[0].bytes; }\n")
        compile_c([source], tmp_path / "all.o", include=[folder], compiler=compiler,
                  language=language)


def test_sources_are_freestanding_and_their_headers_cpp(squares: Path, tmp_path: Path) -> None:
    folder = headers(squares, tmp_path / "h")
    include = [folder, FIRMWARE, FIRMWARE / "reference"]
    soft_core = ("-Os", "-ffreestanding", "-target", "riscv32-freestanding", "-mcpu=generic_rv32+m")
    for source in [*ENGINE, FIRMWARE / "tensor.c", FIRMWARE / "yolo.c"]:
        compile_c([source], tmp_path / "a.o", include=include, compiler=ZIG, flags=soft_core)
    use = tmp_path / "use.cpp"
    use.write_text("".join(f'#include "{name}.h"\n' for name in ("engine", "tensor", "yolo") * 2)
                   + "int use();\nint use() { return tensor_status_text(TENSOR_OK)[0]; }\n")
    compile_c([use], tmp_path / "use.o", include=include, language=CPP)


@pytest.mark.parametrize("compiler", [GCC, ZIG], ids=["gcc", "clang"])
def test_both_formats_hold_the_image(squares: Path, tmp_path: Path,
                                     compiler: Sequence[str]) -> None:
    source = tmp_path / "print.c"
    source.write_text("""
        #include <stdint.h>
        #include <stdio.h>
        #include "macrame_weights.h"
        int main(void)
        {
            if ((uintptr_t)macrame_image % MACRAME_IMAGE_ALIGNMENT != 0)
                return 1;
            return fwrite(macrame_image, 1, MACRAME_IMAGE_BYTES, stdout) != MACRAME_IMAGE_BYTES;
        }""")
    image = (squares / "program.bin").read_bytes()
    for form, last in (("array", "macrame_weights.c"), ("incbin", "macrame_weights.S")):
        folder = headers(squares, tmp_path / form, "--format", form)
        assert set(contents(folder)) == (ARRAY if form == "array" else INCBIN)
        # a large array is aligned anyway on most machines
        aligned = b"_Alignas(MACRAME_IMAGE_ALIGNMENT) const uint8_t macrame_image"
        assert form == "incbin" or aligned in (folder / last).read_bytes()
        parts = [compile_c([path], tmp_path / f"{path.stem}.o", include=[folder],
                           compiler=compiler, language=() if path.suffix == ".S" else C,
                           flags=["-O2", f"-Wa,-I,{folder}"])
                 for path in (source, folder / "macrame_model.c", folder / last)]
        program = compile_c(parts, tmp_path / "print", include=[], language=())
        assert subprocess.run([program], capture_output=True, check=True).stdout == image


def test_same_build_gives_the_same_bytes(squares: Path, tmp_path: Path) -> None:
    first, second = headers(squares, tmp_path / "a"), headers(squares, tmp_path / "b")
    assert contents(first) == contents(second)
    shutil.copytree(squares, tmp_path / "elsewhere")
    assert contents(headers(tmp_path / "elsewhere", tmp_path / "c")) == contents(first)


def test_build_writes_the_same_headers(tmp_path: Path) -> None:
    onnx.save(quantized_model(), tmp_path / "m.onnx")
    assert main(["build", str(tmp_path / "m.onnx"), "--target", "test-4x4", "--quiet", "-o",
                 str(tmp_path / "build"), "--headers", str(tmp_path / "h")]) == 0
    assert contents(headers(tmp_path / "build", tmp_path / "other")) == contents(tmp_path / "h")


def test_the_other_formats_files_go_and_strangers_stay(squares: Path, tmp_path: Path) -> None:
    folder = headers(squares, tmp_path, "--format", "array")
    (folder / "mine.c").write_text("")
    headers(squares, folder, "--format", "incbin")
    assert set(contents(folder)) == INCBIN | {"mine.c"}
    headers(squares, folder)
    assert set(contents(folder)) == ARRAY | {"mine.c"}


def test_numbers_are_those_of_the_image(squares: Path, tmp_path: Path) -> None:
    text = (headers(squares, tmp_path) / "macrame_model.h").read_text()
    found = {name: int(value, 0) for name, value in
             re.findall(r"^#define (\w+) +((?:0x)?[0-9a-f]+)u$", text, re.M)}
    data = (squares / "program.bin").read_bytes()
    image = Image.from_bytes(data)
    for name, part in (("PROGRAM", image.program), ("CONSTANTS", image.constants)):
        at = found[f"MACRAME_{name}_OFFSET"]
        assert data[at:at + found[f"MACRAME_{name}_BYTES"]] == part
        assert found[f"MACRAME_{name}_CRC32"] == zlib.crc32(part)
    assert found["MACRAME_IMAGE_BYTES"] == len(data)
    assert found["MACRAME_IMAGE_CRC32"] == zlib.crc32(data)
    assert found["MACRAME_ACTIVATION_BYTES"] == image.activation_bytes
    assert found["MACRAME_INSTRUCTIONS"] == image.instructions
    assert found["MACRAME_WINDOW_ALIGNMENT"] == image.config.bus_bytes
    assert (found["MACRAME_INPUTS"], found["MACRAME_OUTPUTS"], found["MACRAME_HEADS"]) == (1, 1, 1)


def test_mixed_headers_are_refused_by_the_compiler(squares: Path, tmp_path: Path) -> None:
    folder = headers(squares, tmp_path)
    source = tmp_path / "use.c"
    source.write_text('#include "macrame_weights.h"\nint main(void) { return 0; }\n')
    for name, old, new, message in (
            ("macrame_regs.h", "INTERFACE_VERSION 1u", "INTERFACE_VERSION 2u",
             "of another interface version"),
            ("macrame_isa.h", "CONFIG_CRC32 0x", "CONFIG_CRC32 1 + 0x", "another configuration"),
            ("macrame_model.h", "INSTRUCTIONS     ", "INSTRUCTIONS 1 + ", "whole instructions")):
        good = (folder / name).read_text()
        assert old in good
        (folder / name).write_text(good.replace(old, new))
        with pytest.raises(AssertionError, match=message):
            compile_c([source], tmp_path / "use.o", include=[folder])
        (folder / name).write_text(good)
    compile_c([source], tmp_path / "use.o", include=[folder])


BAD_NAMES = ("a/b", "a.b", "a b", "A_B", "int", 'q"\\??/\n', "größe", "*/ #error", "x" * 300,
             "x" * 299 + "y", "0")


def test_any_name_becomes_an_identifier_and_a_string(tmp_path: Path) -> None:
    build = small_build(tmp_path, BAD_NAMES, output="y%d\" , \"")
    folder = headers(build, tmp_path / "h")
    source = tmp_path / "names.c"
    source.write_text("""
        #include <stdio.h>
        #include "macrame_model.h"
        int main(void)
        {
            for (uint32_t n = 0; n < MACRAME_INPUTS; n++)
                printf("%s%c", macrame_inputs[n].name, 0);
            printf("%s", macrame_outputs[0].name);
            return 0;
        }""")
    program = compile_c([source, folder / "macrame_model.c"], tmp_path / "names", include=[folder])
    printed = subprocess.run([program], capture_output=True, check=True).stdout.decode()
    assert printed.split("\0") == [*BAD_NAMES, 'y%d" , "']


def test_identifiers_differ() -> None:
    names = identifiers("P_", [*BAD_NAMES, "a_b_1", "A.B"])
    assert len({name.lower() for name in names}) == len(names)
    assert all(re.fullmatch(r"P_[A-Za-z0-9_]{1,44}", name) for name in names)
    assert len(set(identifiers("P_", ["a_2", "a", "a", "a_3", "a_2_"]))) == 5
    assert identifiers("P_", ["conv29_out", "x"]) == ["P_conv29_out", "P_x"]


def test_numbers_and_strings_are_exact() -> None:
    rng = np.random.default_rng(1)
    for value in [*rng.uniform(-1, 1, 2000), 0.0, 1.0, 3e38, 1e-45, -16777216.0]:
        single = np.float32(value)
        text = c_float(float(single))
        assert np.float32(text[:-1]) == single and re.search(r"[.e]", text)
    assert c_string('a"b\\c?\n\x00é') == r'"a\042b\134c\077\012\000\303\251"'


def test_register_header_has_every_register_and_fault() -> None:
    text = regs_header()
    for register in REGISTERS.values():
        assert re.search(rf"^#define MACRAME_REG_{register.name} +0x{register.offset:03x}u$", text,
                         re.M)
        for bits in register.bits:
            mask = ((1 << bits.width) - 1) << bits.lsb
            assert re.search(rf"^#define MACRAME_{register.name}_{bits.name.upper()}_MASK +"
                             rf"0x{mask:08x}u$", text, re.M)
    for fault in Fault:
        assert f"    MACRAME_FAULT_{fault.name} = {int(fault)}" in text


@pytest.mark.parametrize("config", [
    *PRESETS.values(), ArrayConfig(rows=2, columns=64, scratchpad_words=1 << 20,
                                   weight_words=1 << 20, accumulator_words=1 << 16,
                                   parameter_entries=1 << 12, post_lanes=1, weight_min=-127)],
    ids=lambda c: f"{c.rows}x{c.columns}")
def test_decoders_are_the_inverse_of_the_encoder(config: ArrayConfig, tmp_path: Path) -> None:
    """Smallest, largest and random values of every field, through the C decoders."""
    isa, rng = Isa(config), np.random.default_rng(0)
    (tmp_path / "macrame_isa.h").write_text(isa_header(config))
    expected, code, body = list[int](), b"", ""
    for opcode, fmt in isa.formats.items():
        known = fmt.fields[1:]
        if not known:
            continue
        lower = opcode.name.lower()
        body += (f"struct macrame_{lower}_fields {lower}; for (int n = 0; n < 4; n++, at += "
                 f"MACRAME_INSTRUCTION_BYTES) {{ macrame_decode_{lower}(at, &{lower});")
        for field in known:
            path = re.sub(r"^(src|dst|a|b)_(base|plane_stride|row_stride|ring_words|ring_start)$",
                          r"\1.\2", field.name)
            body += f' printf("%ld\\n", (long){lower}.{path});'
        body += (f' printf("%d\\n", macrame_bits_are_zero(at, MACRAME_{opcode.name}_BITS)); }}\n')
        for choose in (lambda f: f.lowest, lambda f: f.highest,
                       *[lambda f: int(rng.integers(f.lowest, f.highest + 1))] * 2):
            values = {field.name: choose(field) for field in known}
            code += isa.encode(opcode, values)
            expected += [*values.values(), 1]
    source = tmp_path / "decode.c"
    source.write_text('#include <stdio.h>\n#include "macrame_isa.h"\n'
                      "static uint8_t code[1 << 16];\nint main(void) { const uint8_t *at = code;\n"
                      "if (fread(code, 1, sizeof code, stdin) == 0) return 1;\n"
                      f"{body} return 0; }}\n")
    program = compile_c([source], tmp_path / "decode", include=[tmp_path], flags=["-O1"])
    done = subprocess.run([program], input=code, capture_output=True, check=True)
    assert [int(line) for line in done.stdout.split()] == expected


def test_reserved_bits_are_seen(tmp_path: Path) -> None:
    config = PRESETS["test-4x4"]
    isa = Isa(config)
    (tmp_path / "macrame_isa.h").write_text(isa_header(config))
    (tmp_path / "bits.c").write_text(
        '#include <stdio.h>\n#include "macrame_isa.h"\nint main(void) {\n'
        "uint8_t code[MACRAME_INSTRUCTION_BYTES];\n"
        "while (fread(code, sizeof code, 1, stdin) == 1)\n"
        'printf("%d", macrame_bits_are_zero(code, MACRAME_STORE_BITS));\nreturn 0; }\n')
    program = compile_c([tmp_path / "bits.c"], tmp_path / "bits", include=[tmp_path])
    first, size = isa.formats[Opcode.STORE].bits, isa.instruction_bytes
    code = b"".join((1 << bit).to_bytes(size, "little") for bit in range(8 * size))
    done = subprocess.run([program], input=code, capture_output=True, check=True, text=False)
    assert done.stdout.decode() == "1" * first + "0" * (8 * size - first)


def refusal(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    capsys.readouterr()
    assert main(["header", *map(str, arguments)]) == 1
    return capsys.readouterr().err


def test_builds_that_are_none_are_refused(squares: Path, tmp_path: Path,
                                          capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert refusal(capsys, tmp_path / "none", "-o", out) == (
        f"error: build {str(tmp_path / 'none')!r} must be a folder made by `python -m codegen "
        "build`, and there is none; build the model first.\n")
    build = tmp_path / "build"
    shutil.copytree(squares, build)
    (build / "program.bin").write_bytes((squares / "program.bin").read_bytes()[:-1] + b"x")
    assert "section CONSTANTS checksum must be" in refusal(capsys, build, "-o", out)
    (build / "program.bin").unlink()
    assert "which cannot be read (No such file or directory); build the model again.\n" \
        in refusal(capsys, build, "-o", out)
    (build / "program.bin").write_bytes(
        Image(config=PRESETS["test-4x4"], program=Isa(PRESETS["test-4x4"]).encode(Opcode.END, {}),
              constants=b"", activation_bytes=64).to_bytes())
    assert "must be the file that manifest.json describes; it was changed or damaged" \
        in refusal(capsys, build, "-o", out)
    (build / "manifest.json").write_text("{")
    assert "must be a manifest made by `python -m codegen build`; it is damaged" \
        in refusal(capsys, build, "-o", out)
    assert not out.exists()


@pytest.mark.parametrize(("path", "value"), [
    (("inputs",), []), (("inputs", 0, "tensor"), "nobody"), (("outputs",), 3),
    (("tensors", 0, "address"), 1 << 31), (("tensors", 0, "address"), -1),
    (("tensors", 0, "pitch"), 1), (("tensors", 0, "lanes"), [[0, 0, 2]]),
    (("tensors", 0, "lanes"), [[0, 3, 3]]), (("tensors", 0, "lanes"), [[1, 0, 1], [0, 1, 2]]),
    (("tensors", 0, "rows"), 2.5),
    (("tensors", 0, "chw"), [3, 64, 65]), (("tensors", 0, "gather"), "eJwDAAAAAAE="),
    (("tensors", 0, "gather"), "!"), (("tensors", 0, "shape"), [1, 3, 64]),
    (("inputs", 0, "quantize", "scale"), float("nan")),
    (("inputs", 0, "quantize", "zero_point"), 300), (("tensors", 0, "in_memory"), False),
    (("tensors", 0, "offset"), "128"), (("tensors", 0, "dtype"), "int4"),
    (("tensors", 0, "layout"), 1),
])
def test_damaged_manifests_are_refused(squares: Path, tmp_path: Path, path: tuple[str | int, ...],
                                       value: object, capsys: pytest.CaptureFixture[str]) -> None:
    build = tmp_path / "build"
    shutil.copytree(squares, build)
    manifest = json.loads((build / "manifest.json").read_text())
    inner = manifest
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    (build / "manifest.json").write_text(json.dumps(manifest))
    error = refusal(capsys, build, "-o", tmp_path / "out")
    assert error.startswith("error: ") and error.count("\n") == 1
    assert ("it is damaged" in error) != ("must have inputs and outputs, not 0 and 1" in error)


@pytest.mark.parametrize(("changes", "message"), [
    ({"output": "tail"}, (
        "head 'tail' must be an output of the model, which has 'head'; correct the heads.")),
    ({"stride": 16}, (
        "head 'head' must have the shape [1, 7, 4, 4] (1 anchors of 5 + 2 channels, stride 16 on "
        "an input of 64x64) and no transposition, not [1, 7, 8, 8]; correct the heads.")),
    ({"anchors": [[8, 65537]]}, (
        "anchors and scale_x_y of head 'head' must be at most 65536, not 65537; correct the "
        "heads.")),
    ({"classes": 0}, (
        "must describe heads; classes must be a positive integer, not 0. See docs/accuracy.md.")),
])
def test_heads_that_do_not_fit_are_refused(squares: Path, tmp_path: Path, message: str,
                                           changes: dict[str, object],
                                           capsys: pytest.CaptureFixture[str]) -> None:
    head = {"output": "head", "stride": 8, "anchors": [[8, 8]], "classes": 2} | changes
    file = tmp_path / "heads.json"
    file.write_text(json.dumps({"heads": [head]}))
    assert message in refusal(capsys, squares, "-o", tmp_path / "out", "--heads", file)
    assert "must be a text file that can be read" in refusal(
        capsys, squares, "-o", tmp_path / "out", "--heads", tmp_path / "none.json")
    assert not (tmp_path / "out").exists()


def test_heads_of_codes_or_transposed_are_refused(squares: Path) -> None:
    source = read_source(squares)
    inputs = descriptors(source, "inputs", "quantize")
    [output] = descriptors(source, "outputs", "dequantize")
    assert source.heads and len(match_heads(source.heads, inputs, [output])) == 1
    for wrong, message in ((replace(output, is_float=False), "must be a float output, not one of"),
                           (replace(output, gather=tuple(range(448))), "and no transposition")):
        with pytest.raises(BuildError, match=message):
            match_heads(source.heads, inputs, [wrong])
    with pytest.raises(BuildError, match=r"one input of shape \[1, C, H, W\]"):
        match_heads(source.heads, inputs * 2, [output])
