/* The key encoding: BSON values as bytes whose memcmp order is MongoDB's comparison order (bson/compare.h). The contract of every
 * index; its byte table is in docs/FORMAT.md.
 *
 * Properties, tested on random and hostile values:
 *   E1  memcmp(encode(a), encode(b)) has the sign of bval_compare(a, b); equal values encode equally.
 *   E2  No encoding is a proper prefix of another: encodings can be laid end to end, a compound key being its fields' encodings.
 *   E3  decode(encode(v)) with v's side bits gives v bit for bit; without them a value that compares equal.
 *   E4  Descending order inverts every byte; E2 and E3 hold for it.
 *   E5  Whatever bytes are decoded, decode answers a value or ST_CORRUPT and reads nothing outside.
 */
#ifndef ELMO_INDEX_KEY_H
#define ELMO_INDEX_KEY_H

#include "base/buf.h"
#include "base/err.h"
#include "bson/value.h"

/* Appends the encoding of v (B_MISSING encodes as null does). Out of memory shows in key->failed. Depth is that of checked BSON. */
void key_append(struct buf *key, struct bval v, bool descending);
/* Where a key came from an empty array: the side bits of v's place; the encoding is that of null. */
void key_append_side_empty_array(struct buf *side);
/* Appends what tells v from other values of the same encoding: missing/null/undefined/empty array (keygen's mark), string/symbol,
 * int32/int64/double/decimal and its exponent, -0, NaN. Self-delimiting: no byte for types that need none, one byte 00 for the commonest.
 * Bytes past the end read as 00, so trailing 00 may be cut off. */
void key_append_side(struct buf *side, struct bval v);

/* Bytes of one encoded field at the start of key, 0 when damaged. */
size_t key_field_len(struct slice key, bool descending);
/* Decodes one field. Appends a BSON element with an empty name (type, 0, value) to `out`, takes the value's side bits from *side
 * (NULL: none) and moves both on. *value points into `out` (valid until it changes). */
status key_decode_field(struct slice *key, bool descending, struct slice *side, struct buf *out, struct bval *value,
                        struct err *err);

/* The smallest byte string greater than every string that starts with `prefix`, in place. Empty: there is none (no upper bound). */
void key_successor(struct buf *prefix);

/* The bounds of a rank (btype_rank): every value of that rank encodes into [lo, hi), for predicates that compare within one type.
 * Descending: the inverted bytes, and the roles of lo and hi change places. */
void key_append_rank_lo(struct buf *key, int rank, bool descending);
void key_append_rank_hi(struct buf *key, int rank, bool descending);

/* Names in the keyspace: collection id, index id, both ordered varints. */
void key_append_prefix(struct buf *key, uint64_t collection_id, uint64_t index_id);

#endif
