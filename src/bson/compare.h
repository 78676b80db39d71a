/* The one total order over BSON values: MongoDB's comparison order.
 *
 *   MinKey < (missing/undefined/null) < numbers < symbol/string < document < array < binary < ObjectId < bool < date < timestamp
 *   < regex < DBPointer < code < code with scope < MaxKey
 *
 * Numbers compare exactly across int32, int64, double and decimal128; NaN equals NaN and is less than all numbers; -0 equals 0.
 * Strings by bytes. Documents field by field: rank of the type, then name, then value; a prefix is less. Arrays element by element,
 * names ignored. Binary by length, subtype, bytes. Missing, null and undefined compare equal here: callers that tell them apart look
 * at the type. */
#ifndef ELMO_BSON_COMPARE_H
#define ELMO_BSON_COMPARE_H

#include "bson/value.h"

int bval_compare(struct bval a, struct bval b); /* -1, 0, 1 */
static inline bool bval_equal(struct bval a, struct bval b) { return bval_compare(a, b) == 0; }
int bdoc_compare(struct bdoc a, struct bdoc b);
/* Equal values hash equally (2, 2.0, NumberLong(2) and NumberDecimal("2.00") alike). */
uint64_t bval_hash(struct bval v, uint64_t seed);
/* The rank of a type in the order above: comparison operators compare only within one rank. */
enum brank {
    BRANK_MIN_KEY,
    BRANK_NULL,
    BRANK_NUMBER,
    BRANK_STRING,
    BRANK_DOCUMENT,
    BRANK_ARRAY,
    BRANK_BINARY,
    BRANK_OBJECT_ID,
    BRANK_BOOL,
    BRANK_DATE,
    BRANK_TIMESTAMP,
    BRANK_REGEX,
    BRANK_DBPOINTER,
    BRANK_CODE,
    BRANK_CODE_SCOPE,
    BRANK_MAX_KEY,
    BRANK_COUNT
};
int btype_rank(uint8_t type); /* an enum brank */
/* Bit for bit the same type and bytes. */
bool bval_identical(struct bval a, struct bval b);

#endif
