/* The total order; see compare.h. Depth is that of checked BSON, so the recursion is bounded. */
#include "bson/compare.h"

#include "base/hash.h"
#include "bson/number.h"

#define ORDER(a, b) (((a) > (b)) - ((a) < (b)))

/* By the low five bits of the type; MinKey and MaxKey share theirs and are told apart by the sign bit. */
static const uint8_t ranks[32] = {
    [B_MISSING] = BRANK_NULL,
    [B_NULL] = BRANK_NULL,
    [B_UNDEFINED] = BRANK_NULL,
    [B_INT32] = BRANK_NUMBER,
    [B_INT64] = BRANK_NUMBER,
    [B_DOUBLE] = BRANK_NUMBER,
    [B_DECIMAL] = BRANK_NUMBER,
    [B_STRING] = BRANK_STRING,
    [B_SYMBOL] = BRANK_STRING,
    [B_DOCUMENT] = BRANK_DOCUMENT,
    [B_ARRAY] = BRANK_ARRAY,
    [B_BINARY] = BRANK_BINARY,
    [B_OBJECT_ID] = BRANK_OBJECT_ID,
    [B_BOOL] = BRANK_BOOL,
    [B_DATE] = BRANK_DATE,
    [B_TIMESTAMP] = BRANK_TIMESTAMP,
    [B_REGEX] = BRANK_REGEX,
    [B_DBPOINTER] = BRANK_DBPOINTER,
    [B_CODE] = BRANK_CODE,
    [B_CODE_SCOPE] = BRANK_CODE_SCOPE,
    [31] = BRANK_MAX_KEY,
};

int btype_rank(uint8_t type) { return type == B_MIN_KEY ? BRANK_MIN_KEY : ranks[type & 31]; }

static int sign(int c) { return (c > 0) - (c < 0); }

static int compare_names_and_values(struct belem a, struct belem b) {
    int ra = btype_rank(a.value.type), rb = btype_rank(b.value.type);
    if (ra != rb) return ra < rb ? -1 : 1;
    int c = slice_compare(a.name, b.name);
    return c != 0 ? sign(c) : bval_compare(a.value, b.value);
}

int bdoc_compare(struct bdoc a, struct bdoc b) {
    struct biter ia = biter_of(a), ib = biter_of(b);
    struct belem ea, eb;
    for (;;) {
        bool has_a = biter_next(&ia, &ea), has_b = biter_next(&ib, &eb);
        if (!has_a || !has_b) return has_a - has_b;
        int c = compare_names_and_values(ea, eb);
        if (c != 0) return c;
    }
}

static int compare_arrays(struct bdoc a, struct bdoc b) {
    struct biter ia = biter_of(a), ib = biter_of(b);
    struct belem ea, eb;
    for (;;) {
        bool has_a = biter_next(&ia, &ea), has_b = biter_next(&ib, &eb);
        if (!has_a || !has_b) return has_a - has_b;
        int c = bval_compare(ea.value, eb.value);
        if (c != 0) return c;
    }
}

static int compare_numbers(struct bval a, struct bval b) {
    if (a.type == b.type) {
        if (a.type == B_INT32) return ORDER(bval_int32(a), bval_int32(b));
        if (a.type == B_INT64) return ORDER(bval_int64(a), bval_int64(b));
    }
    return bnum_compare(bnum_of(a), bnum_of(b));
}

static int compare_binaries(struct bval a, struct bval b) {
    if (a.len != b.len) return a.len < b.len ? -1 : 1;
    return sign(memcmp(a.p + 4, b.p + 4, a.len - 4)); /* the subtype, then the bytes */
}

static int compare_regexes(struct bval a, struct bval b) {
    int c = slice_compare(bval_regex_pattern(a), bval_regex_pattern(b));
    return sign(c != 0 ? c : slice_compare(bval_regex_options(a), bval_regex_options(b)));
}

static int compare_code_scopes(struct bval a, struct bval b) {
    int c = slice_compare(bval_code(a), bval_code(b));
    return c != 0 ? sign(c) : bdoc_compare(bval_code_scope(a), bval_code_scope(b));
}

int bval_compare(struct bval a, struct bval b) {
    int ra = btype_rank(a.type), rb = btype_rank(b.type);
    if (ra != rb) return ra < rb ? -1 : 1;
    switch (ra) {
    case BRANK_NUMBER: return compare_numbers(a, b);
    case BRANK_STRING:
    case BRANK_CODE: return sign(slice_compare(bval_string(a), bval_string(b)));
    case BRANK_DOCUMENT: return bdoc_compare(bval_doc(a), bval_doc(b));
    case BRANK_ARRAY: return compare_arrays(bval_doc(a), bval_doc(b));
    case BRANK_BINARY: return compare_binaries(a, b);
    case BRANK_OBJECT_ID: return sign(memcmp(a.p, b.p, 12));
    case BRANK_BOOL: return ORDER(a.p[0], b.p[0]);
    case BRANK_DATE: return ORDER(bval_int64(a), bval_int64(b));
    case BRANK_TIMESTAMP: return ORDER(bval_timestamp(a), bval_timestamp(b));
    case BRANK_REGEX: return compare_regexes(a, b);
    case BRANK_DBPOINTER: /* by length first, as binary */
        return a.len != b.len ? ORDER(a.len, b.len) : sign(memcmp(a.p + 4, b.p + 4, a.len - 4));
    case BRANK_CODE_SCOPE: return compare_code_scopes(a, b);
    default: return 0; /* MinKey, nulls, MaxKey */
    }
}

static uint64_t hash_u64(uint64_t v, uint64_t seed) { return hash64(&v, sizeof(v), seed); }

/* One form for equal numbers: an int64 where the value is one, else a double where it is one, else the decimal's shortest form. */
static uint64_t hash_number(struct bnum n, uint64_t seed) {
    int64_t i;
    if (bnum_to_int64_exact(n, &i)) return hash_u64((uint64_t) i, seed);
    if (bnum_is_nan(n)) return hash_u64(0x7ff8000000000000u, ~seed);
    double d = n.type == B_DOUBLE ? n.d : 0;
    if (n.type == B_DECIMAL) {
        struct decimal_parts p = decimal_unpack(n.dec);
        if (p.kind == DECIMAL_INFINITE) {
            d = p.is_negative ? -__builtin_inf() : __builtin_inf();
        } else if (decimal_truncate(n.dec, &d)) {
            d = p.is_negative ? -d : d;
        } else {
            for (; p.coefficient % 10 == 0; p.exponent++) p.coefficient /= 10;
            uint64_t form[3] = {(uint64_t) p.coefficient, (uint64_t) (p.coefficient >> 64),
                                (uint64_t) (uint32_t) p.exponent << 1 | p.is_negative};
            return hash64(form, sizeof(form), seed);
        }
    }
    uint64_t bits;
    memcpy(&bits, &d, sizeof(bits));
    return hash_u64(bits, ~seed);
}

static uint64_t hash_elements(struct bdoc d, bool with_names, uint64_t seed) {
    struct biter it = biter_of(d);
    struct belem e;
    while (biter_next(&it, &e)) {
        if (with_names) seed = hash64(e.name.p, e.name.len, seed);
        seed = bval_hash(e.value, seed);
    }
    return hash_u64(0, seed); /* [[1], 2] is not [[1, 2]] */
}

uint64_t bval_hash(struct bval v, uint64_t seed) {
    int rank = btype_rank(v.type);
    seed += (uint64_t) rank * 0x9e3779b97f4a7c15u;
    switch (rank) {
    case BRANK_NUMBER: return hash_number(bnum_of(v), seed);
    case BRANK_STRING:
    case BRANK_CODE: return hash64(v.p + 4, v.len - 5, seed);
    case BRANK_DOCUMENT: return hash_elements(bval_doc(v), true, seed);
    case BRANK_ARRAY: return hash_elements(bval_doc(v), false, seed);
    case BRANK_CODE_SCOPE: {
        struct slice code = bval_code(v);
        return hash_elements(bval_code_scope(v), true, hash64(code.p, code.len, seed));
    }
    case BRANK_MIN_KEY:
    case BRANK_NULL:
    case BRANK_MAX_KEY: return hash_u64(0, seed);
    default: return hash64(v.p, v.len, seed);
    }
}

bool bval_identical(struct bval a, struct bval b) {
    return a.type == b.type && a.len == b.len && (a.len == 0 || memcmp(a.p, b.p, a.len) == 0);
}
