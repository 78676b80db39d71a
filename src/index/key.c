/* Encoding of values as key bytes, side bits, and the bounds made of keys. The byte tables are in docs/FORMAT.md, "Keys".
 *
 * Everything is written ascending; a descending field is inverted afterwards in place. */
#include "index/key.h"

#include "base/varint.h"
#include "index/key_layout.h"

static void put_lead(struct buf *key, uint8_t lead) { (void) buf_append_u8(key, lead); }

static void put_lead_and_bytes(struct buf *key, uint8_t lead, const void *bytes, size_t len) {
    uint8_t *p = buf_extend(key, 1 + len);
    if (p == NULL) return;
    *p = lead;
    memcpy(p + 1, bytes, len);
}

/* The first byte below 02 in [p, end), or end. */
static const uint8_t *find_escaped(const uint8_t *p, const uint8_t *end) {
    for (; end - p >= 8; p += 8) {
        uint64_t w = get_le64(p), low = (w - 0x0202020202020202u) & ~w & 0x8080808080808080u;
        if (low != 0) return p + (unsigned) __builtin_ctzll(low) / 8;
    }
    while (p<end && * p> TEXT_ESCAPE) p++;
    return p;
}

/* A text that may hold zero bytes: escaped and ended. */
static void put_text(struct buf *key, struct slice text) {
    const uint8_t *p = text.p, *end = p + text.len;
    if (!buf_reserve(key, text.len + 1)) return;
    while (p < end) {
        const uint8_t *odd = find_escaped(p, end);
        (void) buf_append(key, p, (size_t) (odd - p));
        p = odd;
        for (; p < end && *p <= TEXT_ESCAPE; p++) {
            (void) buf_append_u8(key, TEXT_ESCAPE);
            (void) buf_append_u8(key, (uint8_t) (*p + 1));
        }
    }
    (void) buf_append_u8(key, TEXT_END);
}

/* A C string: it has no zero bytes to escape. */
static void put_name(struct buf *key, struct slice name) {
    uint8_t *p = buf_extend(key, name.len + 1);
    if (p == NULL) return;
    if (name.len != 0) memcpy(p, name.p, name.len);
    p[name.len] = TEXT_END;
}

static void put_len(struct buf *key, uint32_t len) {
    uint8_t bytes[ORDERED_LEN_MAX];
    (void) buf_append(key, bytes, ordered_put(bytes, len));
}

static void put_u64(struct buf *key, uint8_t lead, uint64_t v) {
    uint8_t bytes[8];
    put_be64(bytes, v);
    put_lead_and_bytes(key, lead, bytes, 8);
}

static void put_number(struct buf *key, struct bval v) {
    if (!buf_reserve(key, KEY_NUMBER_LEN_MAX)) return;
    uint8_t *p = key->p + key->len;
    key->len += v.type == B_INT32 ? key_put_integer(p, bval_int32(v)) : key_put_number(p, bnum_of(v));
}

static void put_value(struct buf *key, struct bval v);

static void put_fields(struct buf *key, struct bdoc d) {
    struct biter it = biter_of(d);
    struct belem e;
    while (biter_next(&it, &e)) {
        put_lead(key, (uint8_t) (1 + btype_rank(e.value.type)));
        put_name(key, e.name);
        put_value(key, e.value);
    }
    put_lead(key, TEXT_END);
}

static void put_elements(struct buf *key, struct bdoc array) {
    struct biter it = biter_of(array);
    struct belem e;
    while (biter_next(&it, &e)) put_value(key, e.value);
    put_lead(key, TEXT_END);
}

/* The rarer types. */
static void put_other(struct buf *key, struct bval v) {
    switch (v.type) {
    case B_BINARY:
        put_lead(key, LEAD_BINARY);
        put_len(key, v.len - 5);
        (void) buf_append(key, v.p + 4, v.len - 4);
        break;
    case B_REGEX:
        put_lead(key, LEAD_REGEX);
        put_name(key, bval_regex_pattern(v));
        put_name(key, bval_regex_options(v));
        break;
    case B_DBPOINTER: /* the length, then the name of the collection and the id */
        put_lead(key, LEAD_DBPOINTER);
        put_len(key, v.len - 17);
        (void) buf_append(key, v.p + 4, v.len - 17);
        (void) buf_append(key, v.p + v.len - 12, 12);
        break;
    case B_CODE:
        put_lead(key, LEAD_CODE);
        put_text(key, bval_code(v));
        break;
    case B_CODE_SCOPE:
        put_lead(key, LEAD_CODE_SCOPE);
        put_text(key, bval_code(v));
        put_fields(key, bval_code_scope(v));
        break;
    case B_MIN_KEY: put_lead(key, LEAD_MIN_KEY); break;
    case B_MAX_KEY: put_lead(key, LEAD_MAX_KEY); break;
    default: put_lead(key, LEAD_NULL); break;
    }
}

static void put_value(struct buf *key, struct bval v) {
    switch (v.type) {
    case B_INT32:
    case B_INT64:
    case B_DOUBLE:
    case B_DECIMAL: put_number(key, v); break;
    case B_STRING:
    case B_SYMBOL:
        put_lead(key, LEAD_STRING);
        put_text(key, bval_string(v));
        break;
    case B_OBJECT_ID: put_lead_and_bytes(key, LEAD_OBJECT_ID, v.p, 12); break;
    case B_BOOL: put_lead(key, bval_bool(v) ? LEAD_TRUE : LEAD_FALSE); break;
    case B_DATE: put_u64(key, LEAD_DATE, (uint64_t) bval_int64(v) ^ (uint64_t) 1 << 63); break;
    case B_TIMESTAMP: put_u64(key, LEAD_TIMESTAMP, bval_timestamp(v)); break;
    case B_DOCUMENT:
        put_lead(key, LEAD_DOCUMENT);
        put_fields(key, bval_doc(v));
        break;
    case B_ARRAY:
        put_lead(key, LEAD_ARRAY);
        put_elements(key, bval_doc(v));
        break;
    default: put_other(key, v); break;
    }
}

static void invert(struct buf *key, size_t from) {
    for (size_t i = from; i < key->len; i++) key->p[i] = (uint8_t) ~key->p[i];
}

void key_append(struct buf *key, struct bval v, bool descending) {
    size_t from = key->len;
    put_value(key, v);
    if (descending) invert(key, from);
}

static void put_number_side(struct buf *side, struct bnum n) {
    uint8_t bytes[KEY_NUMBER_LEN_MAX];
    (void) buf_append(side, bytes, key_put_number_side(bytes, n));
}

void key_append_side(struct buf *side, struct bval v) {
    struct biter it;
    struct belem e;
    switch (v.type) {
    case B_INT32: (void) buf_append_u8(side, SIDE_NATURAL); return;
    case B_INT64:
    case B_DOUBLE:
    case B_DECIMAL: put_number_side(side, bnum_of(v)); return;
    case B_STRING: (void) buf_append_u8(side, SIDE_STRING); return;
    case B_SYMBOL: (void) buf_append_u8(side, SIDE_SYMBOL); return;
    case B_NULL: (void) buf_append_u8(side, SIDE_NULL); return;
    case B_MISSING: (void) buf_append_u8(side, SIDE_MISSING); return;
    case B_UNDEFINED: (void) buf_append_u8(side, SIDE_UNDEFINED); return;
    case B_DOCUMENT:
    case B_ARRAY: it = biter_of(bval_doc(v)); break;
    case B_CODE_SCOPE: it = biter_of(bval_code_scope(v)); break;
    default: return;
    }
    while (biter_next(&it, &e)) key_append_side(side, e.value);
}

void key_append_side_empty_array(struct buf *side) { (void) buf_append_u8(side, SIDE_EMPTY_ARRAY); }

void key_successor(struct buf *prefix) {
    while (prefix->len > 0 && prefix->p[prefix->len - 1] == 0xff) prefix->len--;
    if (prefix->len > 0) prefix->p[prefix->len - 1]++;
}

/* The first and last lead of each rank. */
static const uint8_t rank_leads[BRANK_COUNT][2] = {
    [BRANK_MIN_KEY] = {LEAD_MIN_KEY, LEAD_MIN_KEY},
    [BRANK_NULL] = {LEAD_NULL, LEAD_NULL},
    [BRANK_NUMBER] = {LEAD_NAN, LEAD_POS_INFINITY},
    [BRANK_STRING] = {LEAD_STRING, LEAD_STRING},
    [BRANK_DOCUMENT] = {LEAD_DOCUMENT, LEAD_DOCUMENT},
    [BRANK_ARRAY] = {LEAD_ARRAY, LEAD_ARRAY},
    [BRANK_BINARY] = {LEAD_BINARY, LEAD_BINARY},
    [BRANK_OBJECT_ID] = {LEAD_OBJECT_ID, LEAD_OBJECT_ID},
    [BRANK_BOOL] = {LEAD_FALSE, LEAD_TRUE},
    [BRANK_DATE] = {LEAD_DATE, LEAD_DATE},
    [BRANK_TIMESTAMP] = {LEAD_TIMESTAMP, LEAD_TIMESTAMP},
    [BRANK_REGEX] = {LEAD_REGEX, LEAD_REGEX},
    [BRANK_DBPOINTER] = {LEAD_DBPOINTER, LEAD_DBPOINTER},
    [BRANK_CODE] = {LEAD_CODE, LEAD_CODE},
    [BRANK_CODE_SCOPE] = {LEAD_CODE_SCOPE, LEAD_CODE_SCOPE},
    [BRANK_MAX_KEY] = {LEAD_MAX_KEY, LEAD_MAX_KEY},
};

void key_append_rank_lo(struct buf *key, int rank, bool descending) {
    uint8_t bound = (uint8_t) (rank_leads[rank][0] - 1);
    put_lead(key, descending ? (uint8_t) ~bound : bound);
}

void key_append_rank_hi(struct buf *key, int rank, bool descending) {
    uint8_t bound = (uint8_t) (rank_leads[rank][1] + 1);
    put_lead(key, descending ? (uint8_t) ~bound : bound);
}

void key_append_prefix(struct buf *key, uint64_t collection_id, uint64_t index_id) {
    uint8_t bytes[2 * ORDERED_LEN_MAX];
    size_t len = ordered_put(bytes, collection_id);
    (void) buf_append(key, bytes, len + ordered_put(bytes + len, index_id));
}
