/* The dropIndexes command: by name, by key pattern, by an array of names, or all with "*". */
#include "base/codes.h"
#include "bson/compare.h"
#include "command/fields.h"
#include "command/requests.h"

struct drop_indexes {
    struct slice collection;
    struct bval index;
};

static const struct field fields[] = {
    {"dropIndexes", FIELD_NAME, offsetof(struct drop_indexes, collection), FIELD_REQUIRED},
    {"index", FIELD_VALUE, offsetof(struct drop_indexes, index), FIELD_REQUIRED},
};

/* The name of the index with that key pattern, in the op's arena. */
static status name_by_key(struct op *op, struct ns ns, struct bdoc key, struct slice *name, struct err *err) {
    struct kv_txn *txn = NULL;
    struct collection *c = NULL;
    char text[NS_TEXT_LEN];
    TRY(command_begin_read(op, &txn, err));
    status st = catalog_find(op, txn, ns, &c, err);
    command_end_read(op, txn);
    ns_text(ns, text);
    if (st == ST_NOT_FOUND) return RAISE_CODE(err, CODE_NamespaceNotFound, "ns not found %s", text);
    TRY(st);
    *name = SLICE_NONE;
    for (uint32_t i = 0; i < c->index_count; i++) {
        if (bdoc_compare(c->indexes[i].spec.key, key) != 0) continue;
        *name = c->indexes[i].spec.name;
        char *copy = arena_strndup(&op->arena, (const char *) name->p, name->len);
        if (copy == NULL) st = RAISE(err, ST_NOMEM, "no memory for an index name");
        else name->p = (const uint8_t *) copy;
    }
    collection_unref(c);
    if (st == ST_OK && name->p == NULL) {
        struct belem first;
        struct biter it = biter_of(key);
        if (biter_next(&it, &first) && slice_equal(first.name, SLICE_LIT("_id")) && bdoc_count(key) == 1)
            *name = SLICE_LIT("_id_");
        else return RAISE_CODE(err, CODE_IndexNotFound, "can't find index with that key pattern on %s", text);
    }
    return st;
}

/* Every name is that of an index which can be dropped: so that one wrong name drops nothing. */
static status check_names(struct op *op, struct ns ns, struct bdoc names, struct err *err) {
    struct kv_txn *txn = NULL;
    struct collection *c = NULL;
    struct biter it = biter_of(names);
    struct belem e;
    char text[NS_TEXT_LEN];
    TRY(command_begin_read(op, &txn, err));
    status st = catalog_find(op, txn, ns, &c, err);
    command_end_read(op, txn);
    ns_text(ns, text);
    if (st == ST_NOT_FOUND) return RAISE_CODE(err, CODE_NamespaceNotFound, "ns not found %s", text);
    TRY(st);
    while (st == ST_OK && biter_next(&it, &e)) {
        struct slice name = e.value.type == B_STRING ? bval_string(e.value) : SLICE_NONE;
        if (e.value.type != B_STRING) {
            st = RAISE_CODE(err, CODE_TypeMismatch, "dropIndexes: index names must be strings, found %s",
                            btype_name(e.value.type));
        } else if (slice_equal(name, SLICE_LIT("_id_"))) {
            st = RAISE_CODE(err, CODE_InvalidOptions, "cannot drop _id index");
        } else if (collection_index(c, name) == NULL) {
            st = RAISE_CODE(err, CODE_IndexNotFound, "index not found with name [%.*s]", (int) name.len,
                            (const char *) name.p);
        }
    }
    collection_unref(c);
    return st;
}

static status drop_each(struct command_call *call, struct ns ns, struct bdoc names, uint32_t *before, struct err *err) {
    struct biter it = biter_of(names);
    struct belem e;
    bool is_first = true;
    TRY(check_names(call->op, ns, names, err));
    while (biter_next(&it, &e)) {
        uint32_t now = 0;
        TRY(catalog_drop_index(call->op, ns, bval_string(e.value), &now, err));
        if (is_first) *before = now;
        is_first = false;
    }
    return ST_OK;
}

static status run(struct command_call *call, struct err *err) {
    struct drop_indexes cmd = {0};
    struct ns ns;
    uint32_t before = 0;
    struct slice name;
    TRY(fields_parse("dropIndexes", call->body, fields, sizeof(fields) / sizeof(fields[0]), true, &cmd, err));
    TRY(command_ns(call, cmd.collection, true, &ns, err));
    switch (cmd.index.type) {
    case B_STRING: TRY(catalog_drop_index(call->op, ns, bval_string(cmd.index), &before, err)); break;
    case B_DOCUMENT:
        TRY(name_by_key(call->op, ns, bval_doc(cmd.index), &name, err));
        TRY(catalog_drop_index(call->op, ns, name, &before, err));
        break;
    case B_ARRAY: TRY(drop_each(call, ns, bval_doc(cmd.index), &before, err)); break;
    default:
        return RAISE_CODE(
            err, CODE_TypeMismatch,
            "BSON field 'dropIndexes.index' is the wrong type '%s', expected types '[string, object, array]'",
            btype_name(cmd.index.type));
    }
    bbuild_int32(call->reply, "nIndexesWas", (int32_t) before);
    return ST_OK;
}

const struct command command_drop_indexes = {.name = "dropIndexes",
                                             .flags = COMMAND_WRITES | COMMAND_API_V1,
                                             .run = run,
                                             .access = ACCESS_KEEPERS,
                                             .help = "Drops indexes."};
