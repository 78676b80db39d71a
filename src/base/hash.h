/* Checksums and hashes: XXH3, 64 bits. The same function everywhere, told apart by seed. */
#ifndef ELMO_BASE_HASH_H
#define ELMO_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

uint64_t hash64(const void *p, size_t len, uint64_t seed);

#endif
