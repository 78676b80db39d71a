/* One log file: its name, header and records as bytes. Shared by the writer (wal.c) and the reader (wal_replay.c).
 *
 *   header, WAL_HEADER_LEN bytes | record | record | ... | zeros, or stale bytes of the log that was in the file before
 *
 *   record:  0  4  payload length (>= 1)         4  4  check: low half of XXH3 of bytes 8 to 31 and the length, salted
 *            8  8  LSN                          16  8  LSN known durable when it was written (< LSN)
 *           24  8  checksum of the payload: XXH3, salted
 *           32     payload, padded with zeros to a multiple of 8
 *
 * Byte table of the header: docs/FORMAT.md. */
#ifndef ELMO_STORAGE_WAL_FILE_H
#define ELMO_STORAGE_WAL_FILE_H

#include "storage/wal.h"

#define WAL_HEADER_LEN 4096u
#define WAL_RECORD_HEAD_LEN 32u
#define WAL_NUMBER_MAX 0xffffffu /* n: 24 bits */
#define WAL_HOLDER_LEN 64u

struct wal_header {
    uint8_t uuid[16];
    uint64_t id;
    uint64_t salt;
    uint64_t first_lsn; /* no record has a lower one */
    uint64_t created_ms;
    char holder[WAL_HOLDER_LEN]; /* NUL-terminated */
};

struct wal_record {
    uint32_t len;
    uint64_t lsn, durable_lsn, checksum;
};

static inline uint32_t wal_number_of(uint64_t id) { return (uint32_t) (id & WAL_NUMBER_MAX); }
/* Bytes that a record with this payload takes in the file. */
static inline uint64_t wal_record_room(uint64_t payload_len) {
    return (WAL_RECORD_HEAD_LEN + payload_len + 7) & ~(uint64_t) 7;
}

void wal_header_encode(const struct wal_header *h, uint8_t out[WAL_HEADER_LEN]);
/* ST_CORRUPT or ST_UNSUPPORTED with a text that names `path`. */
status wal_header_decode(const uint8_t in[WAL_HEADER_LEN], const char *path, struct wal_header *out, struct err *err);
/* Opens the file and reads its header. ST_NOT_FOUND when missing. */
status wal_header_read(struct env *env, const char *path, unsigned flags, struct file **out_file,
                       struct wal_header *out, struct err *err);

uint64_t wal_payload_checksum(const struct wal_header *h, const void *p, size_t len);
void wal_record_encode(const struct wal_header *h, const struct wal_record *r, uint8_t out[WAL_RECORD_HEAD_LEN]);
/* False: no record of this log begins here. */
bool wal_record_decode(const struct wal_header *h, const uint8_t in[WAL_RECORD_HEAD_LEN], struct wal_record *out);

/* `<real>-log-<n>`, NUL-terminated; mem_free with wal_path_len(real). NULL without memory. */
char *wal_path_new(const struct mem *mem, const char *real, uint32_t n);
size_t wal_path_len(const char *real);

/* Numbers of the log files that stand beside the database, ascending. */
struct wal_numbers {
    const struct mem *mem;
    uint32_t *n;
    size_t count, cap;
};
status wal_list(struct env *env, const char *real, struct wal_numbers *out, struct err *err);
void wal_numbers_release(struct wal_numbers *numbers);

#endif
