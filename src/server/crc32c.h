/* CRC-32C (Castagnoli, reflected polynomial 0x82f63b78): the checksum of an OP_MSG. By the processor's instruction where it has one. */
#ifndef ELMO_SERVER_CRC32C_H
#define ELMO_SERVER_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/* Of more bytes after those that gave `crc`; 0 at the beginning. */
uint32_t crc32c(uint32_t crc, const void *p, size_t len);
/* The same by table, on any machine. */
uint32_t crc32c_by_table(uint32_t crc, const void *p, size_t len);

#endif
