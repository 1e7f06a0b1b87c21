"""From the sections of a cfg to layers.

Ref: AlexeyAB/darknet, src/parser.c, src/convolutional_layer.c, src/maxpool_layer.c.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from codegen.darknet.cfg import Section
from codegen.darknet.layers import (
    Convolution,
    Head,
    Layer,
    MaxPool,
    Network,
    Route,
    Shortcut,
    Tensor,
    Upsample,
)

__all__ = ["ACTIVATIONS", "network"]

ACTIVATIONS = frozenset({"leaky", "linear", "logistic", "mish", "relu", "swish"})

_TRAINING = frozenset({
    "burnin_update", "clip", "dont_update", "dynamic_minibatch", "learning_rate", "onlyforward",
    "stopbackward", "train_only_bn"})
"""Keys that every layer can have and that change nothing but training."""

_YOLO_TRAINING = frozenset({
    "beta_nms", "cls_normalizer", "counters_per_class", "delta_normalizer", "focal_loss",
    "ignore_thresh", "iou_loss", "iou_normalizer", "iou_thresh", "iou_thresh_kind", "jitter",
    "label_smooth_eps", "max", "max_delta", "nms_kind", "obj_normalizer", "objectness_smooth",
    "random", "resize", "show_details", "truth_thresh"})
"""Keys of ``[yolo]`` that choose losses and thresholds."""


def network(sections: tuple[Section, ...]) -> Network:
    """Make layers of sections.

    Raises
    ------
    ModelFileError
        A section has a type, a key or a value that is not supported, or does not fit the others;
        or there is no ``[yolo]``.
    """
    net = sections[0]
    image = Tensor(name="images", channels=net.integer("channels", 3, least=1),
                   height=net.integer("height", least=1), width=net.integer("width", least=1))
    build = _Build(image)
    for section in sections[1:]:
        if section.type not in _MAKERS:
            raise section.error(f"must be one of {', '.join(sorted(_MAKERS))}")
        _MAKERS[section.type](build, section)
    if not build.heads:
        raise sections[-1].error("must not be the last; there must be at least one [yolo]")
    return Network(input=image, layers=tuple(build.layers), heads=tuple(build.heads))


class _Build:
    """The layers made so far, and the result of every section."""

    def __init__(self, image: Tensor) -> None:
        self.image = image
        self.results: list[Tensor] = []
        self.layers: list[Layer] = []
        self.heads: list[Head] = []

    @property
    def last(self) -> Tensor:
        return self.results[-1] if self.results else self.image

    def add(self, layer: Layer, activation: str = "linear") -> None:
        """Append a layer; later sections read what its activation makes."""
        out = layer.output
        if min(out.height, out.width) < 1:
            raise layer.section.error("must have a result, but its window is larger than its "
                                      f"input, {_shape(layer.inputs[0])}")
        self.layers.append(layer)
        name = out.name if activation == "linear" else f"{activation}_{layer.section.index}"
        self.results.append(Tensor(name=name, channels=out.channels, height=out.height,
                                   width=out.width))

    def references(self, section: Section, key: str) -> tuple[Tensor, ...]:
        """Results of other sections, counted from the first, or backwards if negative."""
        numbers = section.integers(key)
        for number in numbers:
            if not -section.index <= number < section.index:
                raise section.error(f"must have earlier sections as {key!r}, so from "
                                    f"{-section.index} to {section.index - 1}, not {number}")
        return tuple(self.results[number] for number in numbers)


def _strides(section: Section) -> tuple[int, int]:
    stride = section.integer("stride", 1, least=1)
    return (section.integer("stride_y", stride, least=1),
            section.integer("stride_x", stride, least=1))


def _convolution(build: _Build, section: Section) -> None:
    section.check_keys(_TRAINING | {
        "activation", "batch_normalize", "dilation", "filters", "groups", "pad", "padding", "size",
        "stride", "stride_x", "stride_y"})
    x = build.last
    size = section.integer("size", 1, least=1)
    filters = section.integer("filters", 1, least=1)
    groups = section.integer("groups", 1, least=1)
    if x.channels % groups or filters % groups:
        raise section.error(f"must have 'groups' that divide its input of {x.channels} channels "
                            f"and its {filters} filters, not {groups}")
    padding = size // 2 if section.integer("pad", 0) else section.integer("padding", 0)
    if size > 1 and section.integer("dilation", 1) != 1:
        raise section.error(f"must have 'dilation' 1, not {section.options['dilation']}")
    strides = _strides(section)
    activation = section.word("activation", "logistic", choices=ACTIVATIONS)
    height, width = ((length + 2 * padding - size) // stride + 1
                     for length, stride in zip((x.height, x.width), strides))
    build.add(Convolution(
        section=section, inputs=(x,), size=size, strides=strides, padding=padding,
        groups=groups, activation=activation,
        batch_normalize=section.integer("batch_normalize", 0) > 0,
        output=Tensor(name=f"conv_{section.index}", channels=filters, height=height,
                      width=width)), activation)


def _max_pool(build: _Build, section: Section) -> None:
    section.check_keys(_TRAINING | {"padding", "size", "stride", "stride_x", "stride_y"})
    x = build.last
    strides = _strides(section)
    size = section.integer("size", section.integer("stride", 1, least=1), least=1)
    total = section.integer("padding", size - 1)  # of both sides together
    before = total // 2
    if total > 2 * (size - 1):
        raise section.error(f"must have at most {2 * (size - 1)} as 'padding', not {total}")
    lengths, after = [], []
    for length, stride in zip((x.height, x.width), strides):
        lengths.append((length + total - size) // stride + 1)
        after.append(max((lengths[-1] - 1) * stride + size - before - length, 0))
    build.add(MaxPool(
        section=section, inputs=(x,), size=size, strides=strides,
        pads=(before, before, after[0], after[1]),
        output=Tensor(name=f"maxpool_{section.index}", channels=x.channels, height=lengths[0],
                      width=lengths[1])))


def _route(build: _Build, section: Section) -> None:
    section.check_keys(_TRAINING | {"group_id", "groups", "layers", "stream", "wait_stream"})
    inputs = build.references(section, "layers")
    groups = section.integer("groups", 1, least=1)
    group_id = section.integer("group_id", 0)
    if group_id >= groups:
        raise section.error(f"must have 'group_id' below 'groups', which is {groups}, "
                            f"not {group_id}")
    first = inputs[0]
    for x in inputs:
        if (x.height, x.width) != (first.height, first.width):
            raise section.error("must have inputs of one height and width, not "
                                f"{' and '.join(map(_shape, inputs))}")
        if x.channels % groups:
            raise section.error(f"must have 'groups' that divide {x.channels} channels, "
                                f"not {groups}")
    if len(inputs) == groups == 1:
        build.results.append(first)  # another name for it
        return
    build.add(Route(section=section, inputs=inputs, groups=groups, group_id=group_id,
                    output=Tensor(name=f"route_{section.index}", height=first.height,
                                  width=first.width,
                                  channels=sum(x.channels for x in inputs) // groups)))


def _shortcut(build: _Build, section: Section) -> None:
    section.check_keys(_TRAINING | {"activation", "from"})
    x, *others = build.last, *build.references(section, "from")
    if len(others) != 1 or _shape(others[0]) != _shape(x):
        raise section.error(f"must add one tensor of its input's shape, {_shape(x)}, not "
                            f"{' and '.join(map(_shape, others))}")
    activation = section.word("activation", "linear", choices=ACTIVATIONS)
    build.add(Shortcut(section=section, inputs=(x, others[0]), activation=activation,
                       output=Tensor(name=f"shortcut_{section.index}", channels=x.channels,
                                     height=x.height, width=x.width)), activation)


def _upsample(build: _Build, section: Section) -> None:
    section.check_keys(_TRAINING | {"scale", "stride"})
    x = build.last
    factor = section.integer("stride", 2, least=1)
    if section.number("scale", 1) != 1:
        raise section.error(f"must have 'scale' 1, not {section.options['scale']!r}")
    build.add(Upsample(section=section, inputs=(x,), factor=factor,
                       output=Tensor(name=f"upsample_{section.index}", channels=x.channels,
                                     height=factor * x.height, width=factor * x.width)))


def _dropout(build: _Build, section: Section) -> None:
    build.results.append(build.last)  # does nothing but in training


def _yolo(build: _Build, section: Section) -> None:
    section.check_keys(_TRAINING | _YOLO_TRAINING | {
        "anchors", "classes", "mask", "new_coords", "num", "scale_x_y"})
    x = build.last
    if section.integer("new_coords", 0):
        raise section.error("must have 'new_coords' 0, not 1: those boxes are decoded otherwise")
    numbers = section.numbers("anchors")
    anchors = list(zip(numbers[::2], numbers[1::2]))
    total = section.integer("num", 1, least=1)
    if len(numbers) != 2 * total:
        raise section.error(f"must have 2 numbers for each of its {total} 'anchors', "
                            f"not {len(numbers)}")
    mask = section.integers("mask", tuple(range(total)))
    if not all(0 <= i < total for i in mask):
        raise section.error(f"must have anchors from 0 to {total - 1} as 'mask', not {list(mask)}")
    classes = section.integer("classes", 20, least=1)
    if x.channels != len(mask) * (5 + classes):
        raise section.error(f"must read {len(mask)} * (5 + {classes}) = "
                            f"{len(mask) * (5 + classes)} channels, not {x.channels}; the "
                            "filters before it, its mask and its classes must agree")
    stride = build.image.width // x.width
    if (x.width * stride, x.height * stride) != (build.image.width, build.image.height):
        raise section.error(f"must have square cells of whole pixels: {_shape(x)} do not divide "
                            f"the input, {_shape(build.image)}")
    build.heads.append(Head(output=x, stride=stride, anchors=tuple(anchors[i] for i in mask),
                            classes=classes, scale_x_y=section.number("scale_x_y", 1)))
    build.results.append(x)


def _shape(tensor: Tensor) -> str:
    return f"{tensor.channels}x{tensor.height}x{tensor.width}"


_MAKERS: Mapping[str, Callable[[_Build, Section], None]] = MappingProxyType({
    "conv": _convolution, "convolutional": _convolution, "dropout": _dropout, "max": _max_pool,
    "maxpool": _max_pool, "route": _route, "shortcut": _shortcut, "upsample": _upsample,
    "yolo": _yolo})
