/* mongodump's archive format, version 0.1, written and read.
 *
 *   archive   = magic header *metadata END *block
 *   block     = namespace *document END          documents of one collection; collections may take turns
 *             | last-namespace END                the collection is complete
 *   magic     = 6d e2 99 81
 *   END       = ff ff ff ff
 *   header    = {concurrent_collections: int32, version: "0.1", server_version, tool_version}
 *   metadata  = {db, collection, metadata: text of its metadata.json, size: int32, type}       one for each collection
 *   namespace = {db, collection, EOF: false, CRC: int64 0}
 *   last-namespace = {db, collection, EOF: true, CRC: int64}       CRC-64/ECMA (as Go's hash/crc64) over the collection's documents
 *
 * Everything but magic and END is a BSON document. */
#ifndef ELMO_CLI_ARCHIVE_H
#define ELMO_CLI_ARCHIVE_H

#include "stream.h"

/* CRC-64 with ECMA's polynomial, reflected. Begin with 0. */
struct crc64 {
    uint64_t table[8][256];
};
void crc64_init(struct crc64 *c);
uint64_t crc64_add(const struct crc64 *c, uint64_t crc, const void *bytes, size_t len);

/* ---- writing ---- */

bool archive_write_head(struct stream_out *out, const char *server_version, const char *tool_version);
bool archive_write_metadata(struct stream_out *out, const char *db, const char *coll, const char *metadata,
                            const char *type);
bool archive_write_end_mark(struct stream_out *out);                                /* behind the last metadata */
bool archive_write_begin(struct stream_out *out, const char *db, const char *coll); /* then the documents' bytes */
bool archive_write_close(struct stream_out *out, const char *db, const char *coll, uint64_t crc);

/* ---- reading ---- */

/* More than any honest archive has. */
#define ARCHIVE_COLLECTIONS_MAX 100000
#define ARCHIVE_METADATA_BYTES_MAX ((size_t) 512 * 1024 * 1024)

struct archive_ns {
    char *db, *coll, *metadata, *type;
    bool is_closed, was_seen;
    uint64_t crc;
    int64_t documents;
    void *user; /* the reader's user's */
};

enum archive_event {
    ARCHIVE_DOCUMENT,  /* of `current`: in `doc`, until the next call */
    ARCHIVE_BLOCK_END, /* of `current`: others may follow */
    ARCHIVE_CLOSED,    /* `current` is complete and its checksum right */
    ARCHIVE_END,       /* all collections are complete */
    ARCHIVE_FAILED,    /* `error` tells why and where */
};

struct archive_reader {
    struct stream_in *in; /* borrowed */
    struct crc64 crc;
    char *server_version, *tool_version;
    struct archive_ns *ns; /* as listed */
    size_t ns_count, ns_cap;
    struct archive_ns **by_name;
    struct archive_ns *current;
    bool in_block;
    uint8_t *bytes; /* one document */
    bson_t doc;
    uint64_t doc_at; /* where it begins in the (decompressed) archive */
    char error[512];
};

/* Reads up to the first block. False with `error` set; release it in either case. */
bool archive_read_head(struct archive_reader *r, struct stream_in *in);
enum archive_event archive_next(struct archive_reader *r);
void archive_release(struct archive_reader *r);

#endif
