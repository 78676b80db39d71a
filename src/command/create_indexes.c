/* The createIndexes command. */
#include "base/codes.h"
#include "command/fields.h"
#include "command/requests.h"

struct create_indexes {
    struct slice collection;
    struct bdoc indexes;
    struct bval quorum;
    bool ignores_unknown;
};

static const struct field fields[] = {
    {"createIndexes", FIELD_NAME, offsetof(struct create_indexes, collection), FIELD_REQUIRED},
    {"indexes", FIELD_ARRAY, offsetof(struct create_indexes, indexes), FIELD_REQUIRED},
    {"commitQuorum", FIELD_VALUE, offsetof(struct create_indexes, quorum), 0},
    {"ignoreUnknownIndexOptions", FIELD_BOOL, offsetof(struct create_indexes, ignores_unknown), 0},
};

/* Names are the caller's to make, as in MongoDB. A missing or wrong key is said first, elsewhere. */
static status check_names(const struct bdoc *specs, uint32_t count, struct err *err) {
    for (uint32_t i = 0; i < count; i++) {
        struct bval key = bdoc_get_str(specs[i], "key");
        if (key.type == B_DOCUMENT && !bdoc_is_empty(bval_doc(key)) && bdoc_get_str(specs[i], "name").type == B_MISSING)
            return RAISE_CODE(err, CODE_FailedToParse,
                              "The 'name' field is a required property of an index specification");
    }
    return ST_OK;
}

/* The specifications without what is no option of an index, in the op's arena. */
static status drop_unknown(struct op *op, const struct bdoc **specs, uint32_t count, struct err *err) {
    struct bdoc *known = arena_array(&op->arena, struct bdoc, count);
    if (known == NULL) return RAISE(err, ST_NOMEM, "no memory for %u indexes", count);
    struct buf buf;
    buf_init(&buf, op->mem);
    for (uint32_t i = 0; i < count; i++) {
        struct biter it = biter_of((*specs)[i]);
        struct belem e;
        struct bbuild b;
        buf_clear(&buf);
        bbuild_begin(&b, &buf);
        while (biter_next(&it, &e))
            if (index_spec_has_option(e.name)) bbuild_value(&b, e.name, e.value);
        struct bdoc doc = bbuild_finish(&b);
        const uint8_t *p = doc.p != NULL ? arena_copy(&op->arena, doc.p, doc.len) : NULL;
        if (p == NULL) {
            buf_release(&buf);
            return RAISE(err, ST_NOMEM, "no memory for %u indexes", count);
        }
        known[i] = bdoc_of(p);
    }
    buf_release(&buf);
    *specs = known;
    return ST_OK;
}

/* A number of members or a name of a set of them: there is one member, so each is met. */
static status check_quorum(struct bval v, struct err *err) {
    if (v.type == B_MISSING || v.type == B_STRING || bval_is_number(v) || bval_is_nullish(v)) return ST_OK;
    return RAISE_CODE(err, CODE_FailedToParse, "commitQuorum has to be a number or a string, found %s",
                      btype_name(v.type));
}

static status run(struct command_call *call, struct err *err) {
    struct create_indexes cmd = {0};
    struct ns ns;
    const struct bdoc *specs;
    uint32_t count = 0, before = 0, after = 0;
    bool created = false;
    TRY(fields_parse("createIndexes", call->body, fields, sizeof(fields) / sizeof(fields[0]), true, &cmd, err));
    TRY(command_ns(call, cmd.collection, true, &ns, err));
    if (bdoc_is_empty(cmd.indexes)) return RAISE_CODE(err, CODE_BadValue, "Must specify at least one index to create");
    TRY(documents_of(call->op, "createIndexes.indexes", cmd.indexes, &specs, &count, err));
    TRY(check_quorum(cmd.quorum, err));
    if (cmd.ignores_unknown) TRY(drop_unknown(call->op, &specs, count, err));
    TRY(check_names(specs, count, err));
    TRY(catalog_create_indexes(call->op, ns, specs, count, NULL, NULL, &created, &before, &after, err));
    bbuild_int32(call->reply, "numIndexesBefore", (int32_t) before);
    bbuild_int32(call->reply, "numIndexesAfter", (int32_t) after);
    bbuild_bool(call->reply, "createdCollectionAutomatically", created);
    if (before == after) bbuild_str(call->reply, "note", "all indexes already exist");
    return ST_OK;
}

const struct command command_create_indexes = {.name = "createIndexes",
                                               .flags = COMMAND_WRITES | COMMAND_IN_TXN | COMMAND_API_V1,
                                               .run = run,
                                               .access = ACCESS_KEEPERS,
                                               .help = "Builds indexes."};
