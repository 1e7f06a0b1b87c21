#include <stddef.h>

#include "tensor.h"

#ifdef __clang__
#pragma STDC FP_CONTRACT OFF /* GCC contracts nothing in -std=c11 */
#endif

const char *tensor_status_text(enum tensor_status status)
{
    switch (status) {
    case TENSOR_OK:
        return "ok";
    case TENSOR_BAD_ARGUMENT:
        return "an argument is null, or not of the tensor's size";
    case TENSOR_OUTSIDE:
        return "the activations window is smaller than the tensor needs";
    case TENSOR_NO_PICTURE:
        return "the tensor does not take pixels";
    }
    return "unknown status";
}

uint32_t tensor_lane(const struct macrame_tensor *tensor, uint32_t channel)
{
    const struct macrame_run *run = tensor->runs;
    while (channel >= (uint32_t)run->channel + run->count)
        run++;
    return channel - run->channel + run->lane;
}

enum tensor_status tensor_check(const struct macrame_tensor *tensor, const uint8_t *activations,
                                uint32_t bytes)
{
    if (tensor == NULL || activations == NULL || tensor->runs == NULL)
        return TENSOR_BAD_ARGUMENT;
    uint32_t channel = 0;
    for (uint32_t n = 0; n < tensor->run_count; n++) {
        const struct macrame_run *run = &tensor->runs[n];
        if (run->channel != channel)
            return TENSOR_BAD_ARGUMENT;
        channel += run->count;
    }
    if (channel != tensor->channels)
        return TENSOR_BAD_ARGUMENT;
    if (tensor->address > bytes || tensor->bytes > bytes - tensor->address)
        return TENSOR_OUTSIDE;
    return TENSOR_OK;
}

/* Where an element is, relative to the window. */
static uint32_t element(const struct macrame_tensor *tensor, uint32_t lane, uint32_t row,
                        uint32_t column)
{
    return tensor->address + lane / tensor->lanes * tensor->plane_stride
           + row * tensor->row_stride + column * tensor->column_stride + lane % tensor->lanes;
}

/* Where ONNX element `index` is. */
static uint32_t onnx_element(const struct macrame_tensor *tensor, uint32_t index)
{
    const uint32_t at = tensor->gather == NULL ? index : tensor->gather[index];
    const uint32_t pixels = (uint32_t)tensor->rows * tensor->columns;
    return element(tensor, tensor_lane(tensor, at / pixels), at % pixels / tensor->columns,
                   at % tensor->columns);
}

/* Round half to even; x is not negative. */
static uint32_t rounded(float x)
{
    if (x > 65535.0f)
        return 65535;
    const uint32_t whole = (uint32_t)x;
    const float part = x - (float)whole;
    return whole + (part > 0.5f || (part == 0.5f && whole % 2 == 1));
}

enum tensor_status tensor_write_pixels(const struct macrame_tensor *input, uint8_t *activations,
                                       uint32_t bytes, const uint8_t *pixels, uint32_t count)
{
    const enum tensor_status status = tensor_check(input, activations, bytes);
    if (status != TENSOR_OK)
        return status;
    if (pixels == NULL || count != (uint32_t)input->channels * input->rows * input->columns)
        return TENSOR_BAD_ARGUMENT;
    if (input->gather != NULL || (input->is_float ? input->scale <= 0.0f : !input->is_unsigned))
        return TENSOR_NO_PICTURE;

    uint8_t stored[256];
    const int32_t lowest = input->is_unsigned ? 0 : -128;
    for (uint32_t pixel = 0; pixel < 256; pixel++) {
        int32_t code = (int32_t)pixel;
        if (input->is_float) {
            code = (int32_t)rounded((float)pixel / 255.0f / input->scale) + input->zero_point;
            code = code < lowest ? lowest : code > lowest + 255 ? lowest + 255 : code;
        }
        stored[pixel] = (uint8_t)(code - input->offset);
    }
    for (uint32_t channel = 0; channel < input->channels; channel++) {
        const uint32_t lane = tensor_lane(input, channel);
        const uint8_t *pixel = pixels + channel;
        for (uint32_t row = 0; row < input->rows; row++)
            for (uint32_t column = 0; column < input->columns; column++) {
                activations[element(input, lane, row, column)] = stored[*pixel];
                pixel += input->channels;
            }
    }
    return TENSOR_OK;
}

enum tensor_status tensor_write_codes(const struct macrame_tensor *input, uint8_t *activations,
                                      uint32_t bytes, const uint8_t *codes, uint32_t count)
{
    const enum tensor_status status = tensor_check(input, activations, bytes);
    if (status != TENSOR_OK)
        return status;
    if (codes == NULL || count != input->elements)
        return TENSOR_BAD_ARGUMENT;
    for (uint32_t n = 0; n < count; n++)
        activations[onnx_element(input, n)] = (uint8_t)(codes[n] - input->offset);
    return TENSOR_OK;
}

enum tensor_status tensor_read_codes(const struct macrame_tensor *output,
                                     const uint8_t *activations, uint32_t bytes, uint8_t *codes,
                                     uint32_t count)
{
    const enum tensor_status status = tensor_check(output, activations, bytes);
    if (status != TENSOR_OK)
        return status;
    if (codes == NULL || count != output->elements)
        return TENSOR_BAD_ARGUMENT;
    for (uint32_t n = 0; n < count; n++)
        codes[n] = (uint8_t)(activations[onnx_element(output, n)] + output->offset);
    return TENSOR_OK;
}
