/* $firstN, $lastN, $minN, $maxN over an array. */
#include "bson/compare.h"
#include "eval/expr_internal.h"
#include "eval/sort.h"

static const char *const n_names[] = {"n", "input", NULL};

static status parse_n(struct expr_scope *scope, struct bval v, struct expr *e, struct err *err) {
    static const struct expr_named named = {n_names, 0, 5787801, 5787901, 0};
    struct expr_op op = {.name = e->op->name, .named = &named};
    TRY(expr_parse_named(scope, &op, v, e, err));
    if (e->args[0] == NULL) return RAISE_CODE(err, 5787906, "Missing value for 'n'");
    if (e->args[1] == NULL) return RAISE_CODE(err, 5787907, "Missing value for 'input'");
    return ST_OK;
}

static status op_n(struct expr_run *x, const struct expr *e, const struct bval *args, struct bval *out) {
    int64_t n;
    struct sort_item *items;
    if (!bval_is_number(args[0]))
        return EXPR_RAISE(x, 5787902, "Value for 'n' must be of integral type, but found %s", expr_type_name(args[0]));
    if (!expr_int64(args[0], &n))
        return EXPR_RAISE(x, 5787903, "Value for 'n' must be of integral type");
    if (n <= 0) return EXPR_RAISE(x, 5787908, "'n' must be greater than 0, found %lld", (long long) n);
    if (args[1].type != B_ARRAY)
        return EXPR_RAISE(x, 5788200, "Input must be an array, but found %s", expr_type_name(args[1]));
    bool orders = e->op->name[1] == 'm', lasts = e->op->name[1] == 'l';
    uint32_t count = bdoc_count(bval_doc(args[1])), kept = 0;
    TRY(expr_alloc(x, 2 * (size_t) count * sizeof(*items) + 1, &items));
    struct biter it = biter_of(bval_doc(args[1]));
    struct belem f;
    while (biter_next(&it, &f)) {
        if (!orders || !bval_is_nullish(f.value)) items[kept++] = (struct sort_item){.value = f.value};
    }
    if (orders) sort_items(items, items + count, kept, strcmp(e->op->name, "$maxN") == 0 ? -1 : 1);
    uint32_t take = n < kept ? (uint32_t) n : kept, from = lasts ? kept - take : 0;
    struct expr_list list = {0};
    for (uint32_t i = 0; i < take; i++) TRY(expr_list_push(x, &list, items[from + i].value));
    return expr_put_array(x, list.at, list.count, out);
}

const struct expr_op expr_n_ops[] = {
    {"$firstN", 1, 1, 0, op_n, NULL, parse_n},
    {"$lastN", 1, 1, 0, op_n, NULL, parse_n},
    {"$maxN", 1, 1, 0, op_n, NULL, parse_n},
    {"$minN", 1, 1, 0, op_n, NULL, parse_n},
    {0},
};
