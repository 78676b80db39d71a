/* The collMod command: what can be changed of a collection or an index. Options that there are none of yet are refused by name; what is asked for and is so
 * already is fine. */
#include "base/codes.h"
#include "bson/compare.h"
#include "command/fields.h"
#include "command/requests.h"

struct coll_mod {
    struct slice collection, validation_level, validation_action;
    struct bdoc index;
};

static const struct field fields[] = {
    {"collMod", FIELD_NAME, offsetof(struct coll_mod, collection), FIELD_REQUIRED},
    {"index", FIELD_DOCUMENT, offsetof(struct coll_mod, index), 0},
    {"validator", FIELD_REFUSED, 0, 0},
    {"validationLevel", FIELD_STRING, offsetof(struct coll_mod, validation_level), 0},
    {"validationAction", FIELD_STRING, offsetof(struct coll_mod, validation_action), 0},
    {"viewOn", FIELD_REFUSED, 0, 0},
    {"pipeline", FIELD_REFUSED, 0, 0},
    {"cappedSize", FIELD_REFUSED, 0, 0},
    {"cappedMax", FIELD_REFUSED, 0, 0},
    {"recordPreImages", FIELD_REFUSED, 0, 0},
    {"changeStreamPreAndPostImages", FIELD_REFUSED, 0, 0},
    {"expireAfterSeconds", FIELD_REFUSED, 0, 0},
    {"timeseries", FIELD_REFUSED, 0, 0},
    {"dryRun", FIELD_REFUSED, 0, 0},
};

struct index_mod {
    struct slice name;
    struct bdoc key;
    struct bval expire;
};

static const struct field index_fields[] = {
    {"name", FIELD_STRING, offsetof(struct index_mod, name), 0},
    {"keyPattern", FIELD_DOCUMENT, offsetof(struct index_mod, key), 0},
    {"expireAfterSeconds", FIELD_VALUE, offsetof(struct index_mod, expire), 0},
    {"hidden", FIELD_REFUSED, 0, 0},
    {"unique", FIELD_REFUSED, 0, 0},
    {"prepareUnique", FIELD_REFUSED, 0, 0},
    {"forceNonUnique", FIELD_REFUSED, 0, 0},
};

static bool is_id_index(const struct index_mod *mod) {
    static const uint8_t id_key[] = "\x0e\0\0\0\x10_id\0\x01\0\0\0";
    if (mod->name.p != NULL) return slice_equal(mod->name, SLICE_LIT("_id_"));
    return bdoc_compare(mod->key, bdoc_of(id_key)) == 0;
}

static status find_index(const struct collection *c, const struct index_mod *mod, struct err *err) {
    char text[NS_TEXT_LEN];
    if (is_id_index(mod)) return ST_OK;
    for (uint32_t i = 0; i < c->index_count; i++) {
        const struct index_spec *spec = &c->indexes[i].spec;
        if (mod->name.p != NULL ? slice_equal(spec->name, mod->name) : bdoc_compare(spec->key, mod->key) == 0)
            return ST_OK;
    }
    ns_text(c->ns, text);
    if (mod->name.p == NULL)
        return RAISE_CODE(err, CODE_IndexNotFound, "cannot find index with that key for ns %s", text);
    return RAISE_CODE(err, CODE_IndexNotFound, "cannot find index %.*s for ns %s", (int) mod->name.len,
                      (const char *) mod->name.p, text);
}

static status modify_index(const struct collection *c, struct bdoc doc, struct err *err) {
    struct index_mod mod = {0};
    TRY(fields_parse("collMod.index", doc, index_fields, sizeof(index_fields) / sizeof(index_fields[0]), false, &mod,
                     err));
    if (mod.name.p == NULL && mod.key.p == NULL)
        return RAISE_CODE(err, CODE_InvalidOptions, "must specify either index name or key pattern");
    if (mod.name.p != NULL && mod.key.p != NULL)
        return RAISE_CODE(err, CODE_InvalidOptions, "Cannot specify both key pattern and name.");
    if (bdoc_count(doc) == 1)
        return RAISE_CODE(err, CODE_InvalidOptions, "no expireAfterSeconds, hidden, unique, or prepareUnique field");
    TRY(find_index(c, &mod, err));
    if (mod.expire.type == B_MISSING) return ST_OK;
    return RAISE(err, ST_UNSUPPORTED, "BSON field 'collMod.index.expireAfterSeconds' is not supported");
}

static status run(struct command_call *call, struct err *err) {
    static const char *const levels[] = {"off", "strict", "moderate", NULL}, *const actions[] = {"error", "warn", NULL};
    struct coll_mod cmd = {0};
    struct ns ns;
    struct kv_txn *txn = NULL;
    struct collection *c = NULL;
    TRY(fields_parse("collMod", call->body, fields, sizeof(fields) / sizeof(fields[0]), true, &cmd, err));
    TRY(field_check_one_of("collMod.validationLevel", cmd.validation_level, levels, err));
    TRY(field_check_one_of("collMod.validationAction", cmd.validation_action, actions, err));
    TRY(command_ns(call, cmd.collection, true, &ns, err));
    TRY(command_begin_read(call->op, &txn, err));
    status st = catalog_find(call->op, txn, ns, &c, err);
    command_end_read(call->op, txn);
    if (st == ST_NOT_FOUND) return RAISE_CODE(err, CODE_NamespaceNotFound, "ns does not exist");
    TRY(st);
    if (cmd.index.p != NULL) st = modify_index(c, cmd.index, err);
    collection_unref(c);
    return st;
}

const struct command command_coll_mod = {.name = "collMod",
                                         .flags = COMMAND_WRITES | COMMAND_API_V1,
                                         .run = run,
                                         .access = ACCESS_BY_DB_ADMIN,
                                         .help = "Changes options of a collection or an index."};
