/* Sizes, timestamps, and the names that MongoDB has and elmo does not. */
#include "eval/expr_internal.h"

static status op_bson_size(struct expr_run *x, const struct expr *e, const struct bval *args, struct bval *out) {
    (void) e;
    if (args[0].type != B_DOCUMENT)
        return EXPR_RAISE(x, 31393, "$bsonSize requires a document input, found: %s", expr_type_name(args[0]));
    return expr_put_int32(x, (int32_t) args[0].len, out);
}

static status op_binary_size(struct expr_run *x, const struct expr *e, const struct bval *args, struct bval *out) {
    (void) e;
    if (args[0].type == B_STRING) return expr_put_int32(x, (int32_t) bval_string(args[0]).len, out);
    if (args[0].type == B_BINARY) return expr_put_int32(x, (int32_t) bval_binary(args[0]).len, out);
    return EXPR_RAISE(x, 51276, "$binarySize requires a string or BinData argument, found: %s",
                      expr_type_name(args[0]));
}

static status op_ts_second(struct expr_run *x, const struct expr *e, const struct bval *args, struct bval *out) {
    (void) e;
    if (args[0].type != B_TIMESTAMP)
        return EXPR_RAISE(x, 5687301, "$tsSecond requires a timestamp argument, found: %s", expr_type_name(args[0]));
    return expr_put_int64(x, (int64_t) (bval_timestamp(args[0]) >> 32), out);
}

static status op_ts_increment(struct expr_run *x, const struct expr *e, const struct bval *args, struct bval *out) {
    (void) e;
    if (args[0].type != B_TIMESTAMP)
        return EXPR_RAISE(x, 5687302, "$tsIncrement requires a timestamp argument, found: %s", expr_type_name(args[0]));
    return expr_put_int64(x, (int64_t) (bval_timestamp(args[0]) & UINT32_MAX), out);
}

const struct expr_op expr_misc_ops[] = {
    {"$binarySize", 1, 1, EXPR_NULL_IN_NULL_OUT, op_binary_size, NULL, NULL},
    {"$bsonSize", 1, 1, EXPR_NULL_IN_NULL_OUT, op_bson_size, NULL, NULL},
    {"$tsIncrement", 1, 1, EXPR_NULL_IN_NULL_OUT, op_ts_increment, NULL, NULL},
    {"$tsSecond", 1, 1, EXPR_NULL_IN_NULL_OUT, op_ts_second, NULL, NULL},
    {"$accumulator", 1, 1, 0, NULL, NULL, NULL},
    {"$function", 1, 1, 0, NULL, NULL, NULL},
    {"$median", 1, 1, 0, NULL, NULL, NULL},
    {"$percentile", 1, 1, 0, NULL, NULL, NULL},
    {"$toHashedIndexKey", 1, 1, 0, NULL, NULL, NULL},
    {0},
};
