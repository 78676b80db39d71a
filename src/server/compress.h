/* The compressors of OP_COMPRESSED: snappy, zlib, zstd, and noop, which copies. Both ways the room is given and never exceeded. */
#ifndef ELMO_SERVER_COMPRESS_H
#define ELMO_SERVER_COMPRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/frame.h"

/* "snappy"; NULL when there is none of this number. */
const char *compressor_name(unsigned compressor);
/* The number of a name, -1: unknown. */
int compressor_find(const char *name, size_t len);

/* Unpacks to exactly out_len bytes; false: the bytes are not what they should be, or memory is short. */
bool unpack(uint8_t compressor, const uint8_t *p, size_t len, uint8_t *out, size_t out_len);
/* How much room pack may need for `len` bytes. */
size_t pack_room(uint8_t compressor, size_t len);
/* Packs; 0: memory is short. `room` is at least pack_room. */
size_t pack(uint8_t compressor, const uint8_t *p, size_t len, uint8_t *out, size_t room);

#endif
