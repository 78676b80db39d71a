/* Writing many documents with few commands: see batch.h. */
#include <stdlib.h>
#include <string.h>

#include "batch.h"

/* What an item costs in the array around it: its type, its index as text, a NUL. */
#define ITEM_OVERHEAD 8

static const struct {
    const char *command, *array;
} names[] = {{"insert", "documents"}, {"update", "updates"}, {"delete", "deletes"}};

void batch_init(struct batch *b, struct target *t, const char *db, const char *coll, enum batch_kind kind,
                bool ordered) {
    *b = (struct batch){.target = t,
                        .db = db,
                        .coll = coll,
                        .kind = kind,
                        .ordered = ordered,
                        .count_max = BATCH_COUNT_MAX,
                        .bytes_max = BATCH_BYTES_MAX};
}

void batch_release(struct batch *b) {
    if (b->is_open) bson_destroy(&b->command);
    bson_free(b->places);
    b->is_open = false;
    b->places = NULL;
}

static void begin(struct batch *b) {
    if (b->places == NULL) b->places = bson_malloc(b->count_max * sizeof(*b->places));
    bson_init(&b->command);
    BSON_APPEND_UTF8(&b->command, names[b->kind].command, b->coll);
    BSON_APPEND_BOOL(&b->command, "ordered", b->ordered);
    if (b->bypass_validation) BSON_APPEND_BOOL(&b->command, "bypassDocumentValidation", true);
    bson_append_array_begin(&b->command, names[b->kind].array, -1, &b->array);
    b->is_open = true;
    b->count = 0;
    b->bytes = 0;
}

static bool tell(struct batch *b, uint64_t place, const char *message) {
    b->failures++;
    return b->failed == NULL || b->failed(b->ctx, place, message);
}

/* The reply's writeErrors, each to its item. */
static bool tell_errors(struct batch *b, const bson_t *reply, const uint64_t *places, uint32_t count) {
    bson_iter_t it, errors, field;
    bool go_on = true;
    if (!bson_iter_init_find(&it, reply, "writeErrors") || !BSON_ITER_HOLDS_ARRAY(&it) ||
        !bson_iter_recurse(&it, &errors))
        return true;
    while (go_on && bson_iter_next(&errors)) {
        int64_t index = -1;
        const char *message = "";
        if (bson_iter_recurse(&errors, &field) && bson_iter_find(&field, "index")) index = bson_iter_as_int64(&field);
        if (bson_iter_recurse(&errors, &field) && bson_iter_find(&field, "errmsg") && BSON_ITER_HOLDS_UTF8(&field))
            message = bson_iter_utf8(&field, NULL);
        if (index >= 0 && index < (int64_t) count) go_on = tell(b, places[index], message);
    }
    if (b->ordered) go_on = false;
    return go_on;
}

static void count_done(struct batch *b, const bson_t *reply) {
    bson_iter_t it;
    if (bson_iter_init_find(&it, reply, "n")) b->done += bson_iter_as_int64(&it);
}

/* The engine's words about one document in a command, as words about the document: "invalid BSON in field 'a': ...". In place. */
static void tidy(char *message) {
    static const char prefix[] = "the command: ", item[] = "documents.0.", offset[] = " at offset ";
    char *p = strstr(message, prefix), *end;
    if (p != message) return;
    memmove(p, p + sizeof(prefix) - 1, strlen(p + sizeof(prefix) - 1) + 1);
    if ((p = strstr(message, item)) != NULL) memmove(p, p + sizeof(item) - 1, strlen(p + sizeof(item) - 1) + 1);
    if ((p = strstr(message, offset)) == NULL) return;
    end = p + sizeof(offset) - 1;
    end += strspn(end, "0123456789");
    memmove(p, end, strlen(end) + 1);
}

/* A command that failed as a whole because of something in it: its items one by one show which. */
static bool send_singly(struct batch *b, bson_t *items, const uint64_t *places) {
    bson_iter_t it;
    bool go_on = true;
    uint32_t len, i = 0;
    const uint8_t *p;
    if (!bson_iter_init(&it, items)) return false;
    while (go_on && bson_iter_next(&it)) {
        bson_t one = BSON_INITIALIZER, array, item, reply;
        bson_error_t error;
        bson_iter_document(&it, &len, &p);
        BSON_APPEND_UTF8(&one, names[b->kind].command, b->coll);
        if (b->bypass_validation) BSON_APPEND_BOOL(&one, "bypassDocumentValidation", true);
        bson_append_array_begin(&one, names[b->kind].array, -1, &array);
        if (bson_init_static(&item, p, len)) BSON_APPEND_DOCUMENT(&array, "0", &item);
        bson_append_array_end(&one, &array);
        if (target_command(b->target, b->db, &one, &reply, &error)) {
            count_done(b, &reply);
            go_on = tell_errors(b, &reply, &places[i], 1);
        } else {
            tidy(error.message);
            go_on = tell(b, places[i], error.message) && !b->ordered;
        }
        i++;
        bson_destroy(&reply);
        bson_destroy(&one);
    }
    return go_on;
}

/* Failures that a single item may have caused. */
static bool may_be_one_item(const bson_error_t *error) {
    return error->code == 22 || error->code == 2 || error->code == 9 || error->code == 14 || error->code == 10334 ||
        error->code == 17419 || error->code == 17420;
}

static bool send(struct batch *b) {
    bson_t reply, items;
    bson_error_t error = {0};
    bson_iter_t it;
    uint32_t len;
    const uint8_t *p;
    bool ok = target_command(b->target, b->db, &b->command, &reply, &error), go_on = false;
    if (ok) {
        count_done(b, &reply);
        go_on = tell_errors(b, &reply, b->places, b->count);
        if (bson_iter_init_find(&it, &reply, "writeConcernError") && BSON_ITER_HOLDS_DOCUMENT(&it)) {
            (void) complain("%s.%s: the server stored the documents but could not keep its promise of durability",
                            b->db, b->coll);
            go_on = false;
            b->failures++;
        }
    } else if (may_be_one_item(&error) && bson_iter_init_find(&it, &b->command, names[b->kind].array)) {
        bson_iter_array(&it, &len, &p);
        go_on = bson_init_static(&items, p, len) && send_singly(b, &items, b->places);
    } else {
        b->failures += b->count;
        (void) complain_of(&error);
    }
    bson_destroy(&reply);
    return go_on;
}

bool batch_flush(struct batch *b) {
    if (!b->is_open) return true;
    bson_append_array_end(&b->command, &b->array);
    b->sent++;
    bool go_on = b->count == 0 || send(b);
    bson_destroy(&b->command);
    b->is_open = false;
    b->count = 0;
    return go_on;
}

bool batch_add(struct batch *b, const bson_t *item, uint64_t place) {
    char buf[16];
    const char *key;
    if (b->is_open && b->bytes + item->len + ITEM_OVERHEAD > b->bytes_max && !batch_flush(b)) return false;
    if (!b->is_open) begin(b);
    size_t key_len = bson_uint32_to_string(b->count, &key, buf, sizeof(buf));
    if (!bson_append_document(&b->array, key, (int) key_len, item))
        return tell(b, place, "the document does not fit into a command");
    b->places[b->count++] = place;
    b->bytes += item->len + ITEM_OVERHEAD;
    return b->count < b->count_max || batch_flush(b);
}
