/* RocksDB through its C interface: LZ4, a Bloom filter of 10 bits, a block cache of the given size, default levels. */
#include <rocksdb/c.h>

#include "kv.h"

static rocksdb_t *db;
static rocksdb_options_t *options;
static rocksdb_readoptions_t *reading;
static rocksdb_writeoptions_t *writing;

static void must(char *err, const char *what) {
    if (err != NULL) bench_fail(what, err);
}

static void open_rocksdb(const char *dir, int cache_mb, int durable) {
    char *err = NULL;
    options = rocksdb_options_create();
    rocksdb_options_set_create_if_missing(options, 1);
    rocksdb_options_set_compression(options, rocksdb_lz4_compression);
    rocksdb_options_increase_parallelism(options, 2);
    rocksdb_options_set_write_buffer_size(options, (size_t) 32 << 20);
    rocksdb_block_based_table_options_t *table = rocksdb_block_based_options_create();
    rocksdb_block_based_options_set_block_cache(table, rocksdb_cache_create_lru((size_t) cache_mb << 20));
    rocksdb_block_based_options_set_filter_policy(table, rocksdb_filterpolicy_create_bloom_full(10));
    rocksdb_block_based_options_set_block_size(table, (size_t) 16 << 10);
    rocksdb_options_set_block_based_table_factory(options, table);
    reading = rocksdb_readoptions_create();
    writing = rocksdb_writeoptions_create();
    rocksdb_writeoptions_set_sync(writing, (unsigned char) durable);
    db = rocksdb_open(options, dir, &err);
    must(err, "open");
}

static void close_rocksdb(void) {
    rocksdb_close(db);
    rocksdb_readoptions_destroy(reading);
    rocksdb_writeoptions_destroy(writing);
    rocksdb_options_destroy(options);
}

static void put_batch(const uint8_t (*keys)[KEY_LEN], const uint8_t (*values)[VALUE_LEN], int count) {
    char *err = NULL;
    rocksdb_writebatch_t *batch = rocksdb_writebatch_create();
    for (int i = 0; i < count; i++)
        rocksdb_writebatch_put(batch, (const char *) keys[i], KEY_LEN, (const char *) values[i], VALUE_LEN);
    rocksdb_write(db, writing, batch, &err);
    must(err, "write");
    rocksdb_writebatch_destroy(batch);
}

static int get(const uint8_t *key, uint8_t *first_byte) {
    char *err = NULL;
    rocksdb_pinnableslice_t *v = rocksdb_get_pinned(db, reading, (const char *) key, KEY_LEN, &err);
    must(err, "get");
    if (v == NULL) return 0;
    size_t len;
    *first_byte = (uint8_t) *rocksdb_pinnableslice_value(v, &len);
    rocksdb_pinnableslice_destroy(v);
    return len == VALUE_LEN;
}

static uint64_t walk(rocksdb_iterator_t *it, uint64_t limit, uint64_t *sum) {
    uint64_t rows = 0;
    size_t len;
    for (; rows < limit && rocksdb_iter_valid(it); rocksdb_iter_next(it), rows++)
        *sum += (uint8_t) *rocksdb_iter_value(it, &len);
    rocksdb_iter_destroy(it);
    return rows;
}

static uint64_t scan(uint64_t *sum) {
    rocksdb_iterator_t *it = rocksdb_create_iterator(db, reading);
    rocksdb_iter_seek_to_first(it);
    return walk(it, UINT64_MAX, sum);
}

static int range(const uint8_t *key, int count, uint64_t *sum) {
    rocksdb_iterator_t *it = rocksdb_create_iterator(db, reading);
    rocksdb_iter_seek(it, (const char *) key, KEY_LEN);
    return (int) walk(it, (uint64_t) count, sum);
}

static void settle(void) { rocksdb_compact_range(db, NULL, 0, NULL, 0); }

const struct kv_engine kv_rocksdb = {"rocksdb",
                                     "LZ4, Bloom filter 10 bits, 16 KiB blocks, 32 MiB write buffer, sync off (durable "
                                     "put: on), compacted before the reads",
                                     open_rocksdb,
                                     close_rocksdb,
                                     put_batch,
                                     get,
                                     scan,
                                     range,
                                     settle};
