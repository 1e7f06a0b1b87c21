/* Inputs into the activations window, and outputs out of it. Freestanding C11. */
#ifndef TENSOR_H
#define TENSOR_H

#include "macrame_model.h"

#ifdef __cplusplus
extern "C" {
#endif

enum tensor_status {
    TENSOR_OK = 0,
    TENSOR_BAD_ARGUMENT,   /* a null pointer, or another number of elements than the tensor has */
    TENSOR_OUTSIDE,        /* the window is smaller than the tensor needs */
    TENSOR_NO_PICTURE      /* the tensor does not take pixels */
};

/* A status as text. */
const char *tensor_status_text(enum tensor_status status);

/* The lane of a channel, which must be below `channels`. */
uint32_t tensor_lane(const struct macrame_tensor *tensor, uint32_t channel);

/* Whether an activations window of `bytes` holds the tensor, and its runs are its channels. */
enum tensor_status tensor_check(const struct macrame_tensor *tensor, const uint8_t *activations,
                                uint32_t bytes);

/* Put a picture into an input.
 *
 * activations: the activations window, of `bytes` bytes.
 * pixels: [rows][columns][channels], 0..255, red first; `count` is how many numbers that are.
 *
 * A float input gets pixel / 255, quantized as ONNX Runtime does; a uint8 input the pixel itself. */
enum tensor_status tensor_write_pixels(const struct macrame_tensor *input, uint8_t *activations,
                                       uint32_t bytes, const uint8_t *pixels, uint32_t count);

/* Put the model's codes, in the order of the ONNX tensor, into an input. int8 codes are given as
 * their bytes. */
enum tensor_status tensor_write_codes(const struct macrame_tensor *input, uint8_t *activations,
                                      uint32_t bytes, const uint8_t *codes, uint32_t count);

/* Take the model's codes, in the order of the ONNX tensor, out of an output. */
enum tensor_status tensor_read_codes(const struct macrame_tensor *output,
                                     const uint8_t *activations, uint32_t bytes, uint8_t *codes,
                                     uint32_t count);

#ifdef __cplusplus
}
#endif

#endif
