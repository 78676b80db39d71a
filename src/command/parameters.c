/* getParameter and setParameter. Parameters are rows: those of mongod that clients ask for and that have an answer here. None can be changed while elmo runs; to set one
 * to what it is already is fine. */
#include "base/codes.h"
#include "bson/compare.h"
#include "command/fields.h"
#include "command/requests.h"
#include "command/version.h"
#include "doc/db.h"

static void put_feature_version(struct bbuild *b, const char *name) {
    struct bbuild version = bbuild_open_doc(b, slice_str(name));
    bbuild_str(&version, "version", MONGODB_FEATURES);
    bbuild_close(&version);
}

static void put_mechanisms(struct bbuild *b, const char *name) {
    struct bbuild array = bbuild_open_array(b, slice_str(name));
    bbuild_push_slice(&array, SLICE_LIT("SCRAM-SHA-1"));
    bbuild_push_slice(&array, SLICE_LIT("SCRAM-SHA-256"));
    bbuild_close(&array);
}

static const struct parameter {
    const char *name;
    void (*put)(struct bbuild *b, const char *name); /* NULL: the number, or a bool when is_bool */
    int64_t number;
    bool is_bool;
} parameters[] = {
    {"authenticationMechanisms", put_mechanisms, 0, false},
    {"cursorTimeoutMillis", NULL, CURSOR_IDLE_MS, false},
    {"featureCompatibilityVersion", put_feature_version, 0, false},
    {"internalQueryMaxBlockingSortMemoryUsageBytes", NULL, OP_MEMORY_MAX, false},
    {"localLogicalSessionTimeoutMinutes", NULL, SESSION_MINUTES, false},
    {"logLevel", NULL, 0, false},
    {"notablescan", NULL, 0, true},
    {"quiet", NULL, 0, true},
    {"requireApiVersion", NULL, 0, true},
    {"transactionLifetimeLimitSeconds", NULL, 60, false},
};

#define PARAMETER_COUNT (sizeof(parameters) / sizeof(parameters[0]))

static const struct parameter *find_parameter(struct slice name) {
    for (size_t i = 0; i < PARAMETER_COUNT; i++)
        if (slice_equal(name, slice_str(parameters[i].name))) return &parameters[i];
    return NULL;
}

static void append_value(struct bbuild *b, const struct parameter *p, const char *name) {
    if (p->put != NULL) p->put(b, name);
    else if (p->is_bool) bbuild_bool(b, name, p->number != 0);
    else if (p->number <= INT32_MAX) bbuild_int32(b, name, (int32_t) p->number);
    else bbuild_int64(b, name, p->number);
}

static void append_parameter(struct bbuild *b, const struct parameter *p, bool details) {
    if (!details) {
        append_value(b, p, p->name);
        return;
    }
    struct bbuild row = bbuild_open_doc(b, slice_str(p->name));
    append_value(&row, p, "value");
    bbuild_bool(&row, "settableAtRuntime", false);
    bbuild_bool(&row, "settableAtStartup", false);
    bbuild_close(&row);
}

struct wanted {
    bool all, details;
};

/* {getParameter: 1}, "*", or {showDetails, allParameters}. */
static status parse_wanted(struct bval v, struct wanted *out, struct err *err) {
    static const struct field fields[] = {
        {"showDetails", FIELD_BOOL, offsetof(struct wanted, details), 0},
        {"allParameters", FIELD_BOOL, offsetof(struct wanted, all), 0},
        {"setAt", FIELD_IGNORED, 0, 0},
    };
    *out = (struct wanted){0};
    if (v.type == B_STRING) out->all = slice_equal(bval_string(v), SLICE_LIT("*"));
    if (v.type != B_DOCUMENT) return ST_OK;
    return fields_parse("getParameter", bval_doc(v), fields, sizeof(fields) / sizeof(fields[0]), false, out, err);
}

static status run_get(struct command_call *call, struct err *err) {
    struct wanted wanted;
    struct biter it = biter_of(call->body);
    struct belem e;
    uint32_t count = 0;
    TRY(parse_wanted(bdoc_get_str(call->body, "getParameter"), &wanted, err));
    for (size_t i = 0; i < PARAMETER_COUNT && wanted.all; i++, count++)
        append_parameter(call->reply, &parameters[i], wanted.details);
    while (!wanted.all && biter_next(&it, &e)) {
        const struct parameter *p = find_parameter(e.name);
        if (p == NULL) continue;
        append_parameter(call->reply, p, wanted.details);
        count++;
    }
    if (count == 0) return RAISE_CODE(err, CODE_InvalidOptions, "no option found to get");
    return ST_OK;
}

/* Is `v` what the parameter is? Numbers and truth values count alike. */
static status is_current(const struct command_call *call, const struct parameter *p, struct bval v, bool *same,
                         struct err *err) {
    struct buf buf;
    struct bbuild b;
    buf_init(&buf, call->op->mem);
    bbuild_begin(&b, &buf);
    append_value(&b, p, "was");
    struct bdoc doc = bbuild_finish(&b);
    if (doc.p != NULL) {
        struct bval now = bdoc_get_str(doc, "was");
        *same = p->is_bool ? bval_truthy(v) == bval_truthy(now) : bval_compare(v, now) == 0;
        if (*same) bbuild_elems(call->reply, doc);
    }
    buf_release(&buf);
    return doc.p != NULL ? ST_OK : RAISE(err, ST_NOMEM, "no memory for a parameter");
}

static status run_set(struct command_call *call, struct err *err) {
    struct biter it = biter_of(call->body);
    struct belem e;
    uint32_t count = 0;
    bool same = false;
    (void) biter_next(&it, &e); /* the command's own name */
    while (biter_next(&it, &e)) {
        int len = (int) e.name.len;
        const char *name = (const char *) e.name.p;
        if (fields_is_generic(e.name)) continue;
        const struct parameter *p = find_parameter(e.name);
        if (p == NULL)
            return RAISE_CODE(err, CODE_InvalidOptions,
                              "attempted to set unrecognized parameter [%.*s], use help:true to see options", len,
                              name);
        TRY(is_current(call, p, e.value, &same, err));
        if (!same) return RAISE_CODE(err, CODE_IllegalOperation, "not allowed to change [%.*s] at runtime", len, name);
        count++;
    }
    if (count == 0) return RAISE_CODE(err, CODE_InvalidOptions, "no option found to set, use help:true to see options");
    return ST_OK;
}

const struct command command_get_parameter = {.name = "getParameter",
                                              .flags = COMMAND_ADMIN_ONLY,
                                              .run = run_get,
                                              .access = ACCESS_BY_MONITOR,
                                              .help = "Settings of the server."};
const struct command command_set_parameter = {.name = "setParameter",
                                              .flags = COMMAND_ADMIN_ONLY,
                                              .run = run_set,
                                              .access = ACCESS_BY_CLUSTER,
                                              .help = "Changes settings of the server."};
