/* Names, headers and records of log files; see wal_file.h. */
#include "storage/wal_file.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/endian.h"
#include "base/hash.h"

#define WAL_VERSION 1u

static const uint8_t magic[8] = {'E', 'L', 'M', 'O', 'L', 'O', 'G', 0x0a};

enum place {
    AT_VERSION = 8,
    AT_UUID = 16,
    AT_ID = 32,
    AT_SALT = 40,
    AT_FIRST_LSN = 48,
    AT_CREATED = 56,
    AT_HOLDER = 64,
    AT_CHECKSUM = WAL_HEADER_LEN - 8,
};

void wal_header_encode(const struct wal_header *h, uint8_t out[WAL_HEADER_LEN]) {
    memset(out, 0, WAL_HEADER_LEN);
    memcpy(out, magic, sizeof(magic));
    put_le32(out + AT_VERSION, WAL_VERSION);
    memcpy(out + AT_UUID, h->uuid, sizeof(h->uuid));
    put_le64(out + AT_ID, h->id);
    put_le64(out + AT_SALT, h->salt);
    put_le64(out + AT_FIRST_LSN, h->first_lsn);
    put_le64(out + AT_CREATED, h->created_ms);
    memcpy(out + AT_HOLDER, h->holder, strnlen(h->holder, WAL_HOLDER_LEN - 1));
    put_le64(out + AT_CHECKSUM, hash64(out, AT_CHECKSUM, 0));
}

status wal_header_decode(const uint8_t in[WAL_HEADER_LEN], const char *path, struct wal_header *out, struct err *err) {
    if (memcmp(in, magic, sizeof(magic)) != 0) return RAISE(err, ST_CORRUPT, "%s is not a log", path);
    if (get_le64(in + AT_CHECKSUM) != hash64(in, AT_CHECKSUM, 0))
        return RAISE(err, ST_CORRUPT, "%s: its header is damaged", path);
    if (get_le32(in + AT_VERSION) != WAL_VERSION)
        return RAISE(err, ST_UNSUPPORTED, "%s has log version %" PRIu32 "; this version of elmo reads %u", path,
                     get_le32(in + AT_VERSION), WAL_VERSION);
    memcpy(out->uuid, in + AT_UUID, sizeof(out->uuid));
    out->id = get_le64(in + AT_ID);
    out->salt = get_le64(in + AT_SALT);
    out->first_lsn = get_le64(in + AT_FIRST_LSN);
    out->created_ms = get_le64(in + AT_CREATED);
    memcpy(out->holder, in + AT_HOLDER, WAL_HOLDER_LEN);
    out->holder[WAL_HOLDER_LEN - 1] = '\0';
    return ST_OK;
}

status wal_header_read(struct env *env, const char *path, unsigned flags, struct file **out_file,
                       struct wal_header *out, struct err *err) {
    uint8_t bytes[WAL_HEADER_LEN];
    struct file *f = NULL;
    TRY(env_open(env, path, flags, &f, err));
    status st = file_read(f, 0, bytes, sizeof(bytes), err);
    if (st == ST_OK) st = wal_header_decode(bytes, path, out, err);
    if (st == ST_OK) *out_file = f;
    else file_close(f);
    return st;
}

uint64_t wal_payload_checksum(const struct wal_header *h, const void *p, size_t len) { return hash64(p, len, h->salt); }

/* The check of a head: its 24 bytes from the LSN on, seeded with the salt and the length. */
static uint32_t head_check(const struct wal_header *h, const uint8_t *head, uint32_t len) {
    return (uint32_t) hash64(head + 8, WAL_RECORD_HEAD_LEN - 8, h->salt ^ ((uint64_t) len << 32 | len));
}

void wal_record_encode(const struct wal_header *h, const struct wal_record *r, uint8_t out[WAL_RECORD_HEAD_LEN]) {
    assert(r->len > 0 && r->durable_lsn < r->lsn);
    put_le32(out, r->len);
    put_le64(out + 8, r->lsn);
    put_le64(out + 16, r->durable_lsn);
    put_le64(out + 24, r->checksum);
    put_le32(out + 4, head_check(h, out, r->len));
}

bool wal_record_decode(const struct wal_header *h, const uint8_t in[WAL_RECORD_HEAD_LEN], struct wal_record *out) {
    *out = (struct wal_record){get_le32(in), get_le64(in + 8), get_le64(in + 16), get_le64(in + 24)};
    return out->len > 0 && out->len <= WAL_RECORD_LEN_MAX && out->durable_lsn < out->lsn && out->lsn >= h->first_lsn &&
        get_le32(in + 4) == head_check(h, in, out->len);
}

/* --- names --- */

size_t wal_path_len(const char *real) { return strlen(real) + sizeof("-log-16777215"); }

char *wal_path_new(const struct mem *mem, const char *real, uint32_t n) {
    size_t len = wal_path_len(real);
    char *path = mem_alloc(mem, len);
    if (path != NULL) (void) snprintf(path, len, "%s-log-%" PRIu32, real, n);
    return path;
}

struct lister {
    struct wal_numbers *numbers;
    const char *base; /* the database's name without its directory */
};

/* The number in `<base>-log-<n>`, shortest decimal form; 0 when the name is another. */
static uint32_t number_in(const char *base, const char *name) {
    size_t base_len = strlen(base);
    uint32_t n = 0;
    if (strncmp(name, base, base_len) != 0 || strncmp(name + base_len, "-log-", 5) != 0) return 0;
    const char *digits = name + base_len + 5;
    if (digits[0] < '1' || digits[0] > '9' || strlen(digits) > 8) return 0;
    for (; *digits != '\0'; digits++) {
        if (*digits < '0' || *digits > '9') return 0;
        n = n * 10 + (uint32_t) (*digits - '0');
    }
    return n <= WAL_NUMBER_MAX ? n : 0;
}

static status note_number(void *ctx, const char *name) {
    struct lister *l = ctx;
    uint32_t n = number_in(l->base, name);
    struct wal_numbers *to = l->numbers;
    if (n == 0) return ST_OK;
    if (!mem_grow(to->mem, (void **) &to->n, &to->cap, to->count + 1, sizeof(*to->n))) return ST_NOMEM;
    to->n[to->count++] = n;
    return ST_OK;
}

static int compare_numbers(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *) a, y = *(const uint32_t *) b;
    return (x > y) - (x < y);
}

status wal_list(struct env *env, const char *real, struct wal_numbers *out, struct err *err) {
    const char *slash = strrchr(real, '/');
    *out = (struct wal_numbers){.mem = env->mem};
    struct lister l = {.numbers = out, .base = slash != NULL ? slash + 1 : real};
    struct err own = ERR_INIT;
    status st = env->ops->list_dir(env, real, note_number, &l, &own);
    if (st == ST_OK) {
        if (out->count > 1) qsort(out->n, out->count, sizeof(*out->n), compare_numbers);
        return ST_OK;
    }
    wal_numbers_release(out);
    return RAISE(err, st, "%s", own.st != ST_OK ? own.text : "list of logs");
}

void wal_numbers_release(struct wal_numbers *numbers) {
    mem_free(numbers->mem, numbers->n, numbers->cap * sizeof(*numbers->n));
    *numbers = (struct wal_numbers){.mem = numbers->mem};
}
