/* Driver of the core: load a program, run frames, say what went wrong.
 *
 * Freestanding, no allocation, no globals. Functions check their arguments before they touch a
 * register: MACRAME_BAD_ARGUMENT, _MISALIGNED, _TOO_LARGE and what concerns the image mean that
 * nothing happened. Every wait ends after as many reads of STATUS as its caller allows.
 *
 * Addresses of windows are the core's; pointers are the processor's. The driver knows nothing of
 * caches: before macrame_start, what the processor wrote must be in memory, and after the frame what
 * its cache has of the activations window is old.
 */
#ifndef MACRAME_H
#define MACRAME_H

#include <stdint.h>

#include "macrame_regs.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The image, and the activations window, begin at multiples of this many bytes. */
#define MACRAME_ADDRESS_ALIGNMENT 16u

/* X(NAME, "text") */
#define MACRAME_STATUS_LIST(X) \
    X(OK, "all is well") \
    X(RUNNING, "the frame is not finished") \
    X(BAD_ARGUMENT, "an argument is NULL, or a size or a number of polls is 0") \
    X(NO_CORE, "there is no core at this address: its ID is wrong") \
    X(WRONG_CORE_VERSION, "the core has another interface version than this driver") \
    X(NOT_AN_IMAGE, "the bytes are not an image: they do not begin with MACR") \
    X(WRONG_FORMAT_VERSION, "the image has another format version than this driver") \
    X(WRONG_IMAGE_VERSION, "the image was compiled for another interface version") \
    X(INCOMPLETE_IMAGE, "the image is shorter than its header says, or its parts lie outside") \
    X(WRONG_CHECKSUM, "the image was changed or damaged: its checksum is wrong") \
    X(WRONG_CONFIGURATION, "the image was compiled for a core of another configuration") \
    X(TOO_LARGE, "the image does not fit the memory that it is to be copied to") \
    X(TOO_SMALL, "the activations window is smaller than the program needs") \
    X(MISALIGNED, "an address is not a multiple of 16") \
    X(MISPLACED, "image and activations overlap, or go beyond 2^32") \
    X(NOT_CONFIGURED, "no program was configured") \
    X(BUSY, "the core is running") \
    X(FAULT, "the core stopped with a fault; macrame_read_fault says which") \
    X(NOT_RUNNING, "the core was not started, or was cleared since") \
    X(TIMEOUT, "the core did not finish in time") \
    X(STUCK, "the core did not stop: memory does not answer, only a reset helps")

enum macrame_status {
#define MACRAME_STATUS(name, text) MACRAME_##name,
    MACRAME_STATUS_LIST(MACRAME_STATUS)
#undef MACRAME_STATUS
    MACRAME_STATUSES
};

/* What the driver knows of a core. */
struct macrame {
    uintptr_t registers;
    uint8_t configured;
    volatile uint8_t interrupted;
};

/* An image whose header was found to be right. */
struct macrame_program {
    const uint8_t *image;      /* where the processor reads it */
    uint32_t address;          /* where the core does */
    uint32_t image_bytes;
    uint32_t config_offset, config_words;
    uint32_t program_offset, program_bytes, program_crc32;
    uint32_t constants_offset, constants_bytes, constants_crc32;
    uint32_t activation_bytes; /* of the window that it needs */
    uint32_t instructions;
};

struct macrame_fault_report {
    enum macrame_fault cause;
    uint32_t instruction;      /* as in listing.txt */
    uint32_t address;          /* where the cause has one */
};

struct macrame_queue_cycles {
    uint32_t busy, wait, stall;
};

struct macrame_counters {
    uint64_t cycles;
    uint32_t instructions;
    struct macrame_queue_cycles load, mac, post, store;
};

/* English for a status and for the cause of a fault; never NULL. */
const char *macrame_status_text(enum macrame_status status);
const char *macrame_fault_text(enum macrame_fault cause);

/* CRC-32 as zlib's; 1 KB of stack. */
uint32_t macrame_crc32(const uint8_t *bytes, uint32_t count);

/* Find the core whose registers begin at `registers`.
 * BAD_ARGUMENT, MISALIGNED (to 4 bytes), NO_CORE, WRONG_CORE_VERSION. */
enum macrame_status macrame_open(struct macrame *device, uintptr_t registers);

/* Read the header of an image of `count` bytes, which the core sees at `address`, and check it with
 * its checksum. Touches no register.
 * BAD_ARGUMENT, MISALIGNED, NOT_AN_IMAGE, WRONG_FORMAT_VERSION, WRONG_IMAGE_VERSION,
 * INCOMPLETE_IMAGE, WRONG_CHECKSUM. */
enum macrame_status macrame_read_image(struct macrame_program *program, const uint8_t *image,
                                       uint32_t count, uint32_t address);

/* Check the checksums of program and constants: some 20 cycles a byte on VexRiscv.
 * BAD_ARGUMENT, WRONG_CHECKSUM. */
enum macrame_status macrame_verify_image(const struct macrame_program *program);

/* Copy an image from where the core cannot read it (flash, say), and check the copy: as
 * macrame_read_image and macrame_verify_image, and TOO_LARGE if it has more than `capacity` bytes.
 * `memory` is the processor's view of `address`. */
enum macrame_status macrame_load_image(struct macrame_program *program, const uint8_t *image,
                                       uint32_t count, uint8_t *memory, uint32_t capacity,
                                       uint32_t address);

/* Set the windows: the program's, and activations of `activation_bytes` bytes at `activations`.
 * `watchdog`: cycles without progress until the core stops with the fault WATCHDOG; 0: never.
 * BAD_ARGUMENT, MISALIGNED, TOO_SMALL, MISPLACED, BUSY, WRONG_CONFIGURATION. */
enum macrame_status macrame_configure(struct macrame *device, const struct macrame_program *program,
                                      uint32_t activations, uint32_t activation_bytes,
                                      uint32_t watchdog);

/* Start a frame; `interrupt`: the interrupt rises at its end, whatever that is.
 * BAD_ARGUMENT, NOT_CONFIGURED, BUSY. */
enum macrame_status macrame_start(struct macrame *device, int interrupt);

/* How it is: RUNNING; OK, FAULT, NOT_RUNNING when it has stopped. BAD_ARGUMENT. */
enum macrame_status macrame_poll(struct macrame *device);

/* Poll until it has stopped, at most `polls` times: as macrame_poll, and TIMEOUT. */
enum macrame_status macrame_wait(struct macrame *device, uint32_t polls);

/* Stop it; OK if it has stopped, with what end macrame_poll says. BAD_ARGUMENT, STUCK. */
enum macrame_status macrame_abort(struct macrame *device, uint32_t polls);

/* Start a frame and wait. At a time-out it is aborted, with as many polls again: then the status is
 * TIMEOUT if it stopped, and the next frame can run, or STUCK. As macrame_start, macrame_wait. */
enum macrame_status macrame_run(struct macrame *device, uint32_t polls);

/* For the interrupt handler: keep the interrupt from rising again, and remember it. */
void macrame_handle_interrupt(struct macrame *device);

/* Of the frame that is running, or of the last one. BAD_ARGUMENT. */
enum macrame_status macrame_read_counters(struct macrame *device,
                                          struct macrame_counters *counters);
enum macrame_status macrame_read_fault(struct macrame *device,
                                       struct macrame_fault_report *report);

#ifdef __cplusplus
}
#endif

#endif
