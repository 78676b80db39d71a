/* Comparison by the one total order, and truth. A missing value is below null here, as MongoDB's expressions have it. */
#include "bson/compare.h"
#include "eval/expr_internal.h"

/* In expressions missing, undefined and null are three values, in this order. */
static int null_rank(struct bval v) { return v.type == B_MISSING ? 0 : v.type == B_UNDEFINED ? 1 : 2; }

static int compare(struct bval a, struct bval b) {
    if (bval_is_nullish(a) && bval_is_nullish(b)) return (null_rank(a) > null_rank(b)) - (null_rank(a) < null_rank(b));
    return bval_compare(a, b);
}

static status op_cmp(struct expr_run *x, const struct expr *e, const struct bval *args, struct bval *out) {
    (void) e;
    return expr_put_int32(x, compare(args[0], args[1]), out);
}
#define COMPARISON(name, test)                                                                                         \
    static status name(struct expr_run *x, const struct expr *e, const struct bval *args, struct bval *out) {         \
        (void) x;                                                                                                      \
        (void) e;                                                                                                      \
        int c = compare(args[0], args[1]);                                                                             \
        return expr_put_bool(test, out);                                                                               \
    }
COMPARISON(op_eq, c == 0)
COMPARISON(op_ne, c != 0)
COMPARISON(op_gt, c > 0)
COMPARISON(op_gte, c >= 0)
COMPARISON(op_lt, c < 0)
COMPARISON(op_lte, c <= 0)

static status op_and(struct expr_run *x, const struct expr *e, const struct bval *args, struct bval *out) {
    (void) args;
    bool is_true = true;
    for (uint32_t i = 0; i < e->argc && is_true; i++) TRY(expr_test(x, e->args[i], &is_true));
    return expr_put_bool(is_true, out);
}

static status op_or(struct expr_run *x, const struct expr *e, const struct bval *args, struct bval *out) {
    (void) args;
    bool is_true = false;
    for (uint32_t i = 0; i < e->argc && !is_true; i++) TRY(expr_test(x, e->args[i], &is_true));
    return expr_put_bool(is_true, out);
}

static status op_not(struct expr_run *x, const struct expr *e, const struct bval *args, struct bval *out) {
    (void) x;
    (void) e;
    return expr_put_bool(!bval_truthy(args[0]), out);
}

const struct expr_op expr_compare_ops[] = {
    {"$and", 0, -1, EXPR_LAZY, op_and, NULL, NULL}, {"$cmp", 2, 2, 0, op_cmp, NULL, NULL},
    {"$eq", 2, 2, 0, op_eq, NULL, NULL},            {"$gt", 2, 2, 0, op_gt, NULL, NULL},
    {"$gte", 2, 2, 0, op_gte, NULL, NULL},          {"$lt", 2, 2, 0, op_lt, NULL, NULL},
    {"$lte", 2, 2, 0, op_lte, NULL, NULL},          {"$ne", 2, 2, 0, op_ne, NULL, NULL},
    {"$not", 1, 1, 0, op_not, NULL, NULL},          {"$or", 0, -1, EXPR_LAZY, op_or, NULL, NULL},
    {0},
};
