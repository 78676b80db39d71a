/* Writing many documents with few commands: inserts, updates or deletes gathered into one command each, up to MongoDB's limits. */
#ifndef ELMO_CLI_BATCH_H
#define ELMO_CLI_BATCH_H

#include "target.h"

enum batch_kind { BATCH_INSERT, BATCH_UPDATE, BATCH_DELETE };

struct batch {
    struct target *target;
    const char *db, *coll; /* borrowed */
    enum batch_kind kind;
    bool ordered; /* stop the command at its first failure */
    bool bypass_validation;
    uint32_t count_max; /* items in a command */
    size_t bytes_max;
    /* Called for each item that failed: its place as given to batch_add. False: stop there. */
    bool (*failed)(void *ctx, uint64_t place, const char *message);
    void *ctx;
    /* what was done */
    int64_t done; /* documents inserted, matched, upserted or deleted */
    int64_t failures;
    int64_t sent; /* commands */
    /* private */
    bson_t command, array;
    uint64_t *places;
    uint32_t count;
    size_t bytes;
    bool is_open;
};

void batch_init(struct batch *b, struct target *t, const char *db, const char *coll, enum batch_kind kind,
                bool ordered);
/* Adds an item: a document, {q, u, ...}, {q, limit}; sends what there is when it is enough. False: stop (told already). */
bool batch_add(struct batch *b, const bson_t *item, uint64_t place);
/* Sends the rest. */
bool batch_flush(struct batch *b);
void batch_release(struct batch *b);

#endif
