/* The normalised filter as a document, as MongoDB shows it in parsedQuery and in stages' filters: {$and: [{a: {$eq: 1}}, ...]}. */
#include "query/explain.h"

#include "eval/regex.h"

static void show_value_op(struct bbuild *b, const struct match_node *n);

static void push_regex(struct bbuild *array, const struct match_regex *regex) {
    struct buf value;
    buf_init(&value, array->buf->mem);
    buf_append_slice(&value, regex_pattern(regex));
    buf_append_u8(&value, 0);
    buf_append_slice(&value, regex_options(regex));
    buf_append_u8(&value, 0);
    if (value.failed) array->buf->failed = true;
    else bbuild_push(array, (struct bval){value.p, (uint32_t) value.len, B_REGEX});
    buf_release(&value);
}

static void show_regex(struct bbuild *b, const struct match_regex *regex) {
    bbuild_slice(b, "$regex", regex_pattern(regex));
    if (regex_options(regex).len > 0) bbuild_slice(b, "$options", regex_options(regex));
}

static void show_in(struct bbuild *b, const struct match_node *n) {
    struct bbuild array = bbuild_open_array(b, SLICE_LIT("$in"));
    for (uint32_t i = 0; i < n->value_count; i++) bbuild_push(&array, n->values[i]);
    for (uint32_t i = 0; i < n->child_count; i++) push_regex(&array, n->children[i]->regex);
    bbuild_close(&array);
}

static void show_type(struct bbuild *b, const struct match_node *n) {
    struct bbuild array = bbuild_open_array(b, SLICE_LIT("$type"));
    for (int type = 1; type < 256; type++) {
        bool known = (type <= B_DECIMAL || type == B_MAX_KEY || type == B_MIN_KEY) &&
            (n->type_set & match_type_bit((uint8_t) type)) != 0;
        if (!known) continue;
        uint8_t bytes[4];
        put_le32(bytes, (uint32_t) (type == B_MIN_KEY ? -1 : type));
        bbuild_push(&array, (struct bval){bytes, 4, B_INT32});
    }
    bbuild_close(&array);
}

static void show_elem_match(struct bbuild *b, const struct match_node *n) {
    struct bbuild sub = bbuild_open_doc(b, SLICE_LIT("$elemMatch"));
    if (n->op == MATCH_ELEM_MATCH_OBJECT) {
        for (uint32_t i = 0; i < n->child_count; i++) explain_match(&sub, n->children[i]);
    } else {
        const struct match_node *child = n->child_count > 0 ? n->children[0] : NULL;
        uint32_t count = child != NULL && child->op == MATCH_AND ? child->child_count : n->child_count;
        struct match_node **children = child != NULL && child->op == MATCH_AND ? child->children : n->children;
        for (uint32_t i = 0; i < count; i++) show_value_op(&sub, children[i]);
    }
    bbuild_close(&sub);
}

static void show_mod(struct bbuild *b, const struct match_node *n) {
    struct bbuild array = bbuild_open_array(b, SLICE_LIT("$mod"));
    bbuild_int64(&array, "0", n->divisor);
    bbuild_int64(&array, "1", n->remainder);
    bbuild_close(&array);
}

/* {$gt: 5} without its path. */
static void show_value_op(struct bbuild *b, const struct match_node *n) {
    static const struct {
        enum match_op op;
        const char *name;
    } plain[] = {
        {MATCH_EQ, "$eq"}, {MATCH_GT, "$gt"}, {MATCH_GTE, "$gte"}, {MATCH_LT, "$lt"}, {MATCH_LTE, "$lte"},
    };
    for (size_t i = 0; i < sizeof(plain) / sizeof(plain[0]); i++) {
        if (plain[i].op != n->op) continue;
        bbuild_value(b, slice_str(plain[i].name), n->value);
        return;
    }
    switch (n->op) {
    case MATCH_IN: show_in(b, n); return;
    case MATCH_EXISTS: bbuild_bool(b, "$exists", n->exists); return;
    case MATCH_TYPE: show_type(b, n); return;
    case MATCH_MOD: show_mod(b, n); return;
    case MATCH_REGEX: show_regex(b, n->regex); return;
    case MATCH_SIZE: bbuild_int64(b, "$size", n->size); return;
    case MATCH_ELEM_MATCH_OBJECT:
    case MATCH_ELEM_MATCH_VALUE: show_elem_match(b, n); return;
    case MATCH_NOT: {
        struct bbuild sub = bbuild_open_doc(b, SLICE_LIT("$not"));
        show_value_op(&sub, n->children[0]);
        bbuild_close(&sub);
        return;
    }
    default: explain_match(b, n); return;
    }
}

static void show_list(struct bbuild *b, const char *name, const struct match_node *n) {
    struct bbuild array = bbuild_open_array(b, slice_str(name));
    for (uint32_t i = 0; i < n->child_count; i++) {
        struct bbuild sub = bbuild_push_doc(&array);
        explain_match(&sub, n->children[i]);
        bbuild_close(&sub);
    }
    bbuild_close(&array);
}

static bool has_own_path(const struct match_node *n) {
    switch (n->op) {
    case MATCH_AND:
    case MATCH_OR:
    case MATCH_NOR:
    case MATCH_NOT:
    case MATCH_EXPR:
    case MATCH_TEXT:
    case MATCH_TRUE:
    case MATCH_FALSE: return false;
    default: return true;
    }
}

static void show_not(struct bbuild *b, const struct match_node *n) {
    const struct match_node *child = n->children[0];
    if (!has_own_path(child)) {
        show_list(b, "$nor", n);
        return;
    }
    struct bbuild field = bbuild_open_doc(b, child->path.text);
    struct bbuild sub = bbuild_open_doc(&field, SLICE_LIT("$not"));
    show_value_op(&sub, child);
    bbuild_close(&sub);
    bbuild_close(&field);
}

void explain_match(struct bbuild *b, const struct match_node *n) {
    struct bbuild field;
    switch (n->op) {
    case MATCH_AND:
        if (n->child_count > 0) show_list(b, "$and", n);
        return;
    case MATCH_OR: show_list(b, "$or", n); return;
    case MATCH_NOR: show_list(b, "$nor", n); return;
    case MATCH_NOT: show_not(b, n); return;
    case MATCH_TRUE: bbuild_int32(b, "$alwaysTrue", 1); return;
    case MATCH_FALSE: bbuild_int32(b, "$alwaysFalse", 1); return;
    case MATCH_EXPR: bbuild_value(b, SLICE_LIT("$expr"), n->value); return;
    case MATCH_TEXT: return;
    default:
        field = bbuild_open_doc(b, n->path.text);
        show_value_op(&field, n);
        bbuild_close(&field);
        return;
    }
}
