/* From a document to its keys in an ordered index: MongoDB's rules for arrays, missing fields and nulls.
 *
 * Per key: the fields' encodings laid end to end (without prefix and locator), and the side bits of all fields. The set is sorted and
 * has no duplicates (a key that occurs with different side bits is kept once, with those of the first occurrence). Side
 * bits have no trailing zero bytes (key.h), so they are mostly empty. An empty array indexes as undefined, a missing field as null.
 * Two arrays in parallel: CODE_CannotIndexParallelArrays (171). More keys, or bytes of them, than the limits of spec.h:
 * CODE_CannotBuildIndexKeys (201), a key that is too long: CODE_KeyTooLong (17280). A numeric part that is both a position and a field
 * of the array's documents: 16746. */
#ifndef ELMO_INDEX_KEYGEN_H
#define ELMO_INDEX_KEYGEN_H

#include "base/arena.h"
#include "index/spec.h"

struct index_key {
    struct slice key, side;
};

struct key_set {
    struct index_key *keys;
    uint32_t count;
    /* Per indexed field a bit per path component (bit i: the value at component i was an array, an empty one too, or one that was entered
     * only by position: the index is multikey there). Components from 63 on share bit 63. */
    uint64_t multikey[INDEX_FIELDS_MAX];
};

/* Keys and set live in the arena. A sparse index has no keys for a document in which every indexed field is missing. */
status keygen(const struct index_spec *spec, struct bdoc doc, struct arena *arena, struct key_set *out,
              struct err *err);

/* What an update changes (key and side compared). Both sets are sorted; the results point into them. A key whose side bits alone
 * change is in both lists: remove first, then add. */
struct key_diff {
    struct index_key *remove;
    uint32_t remove_count;
    struct index_key *add;
    uint32_t add_count;
};
status key_set_diff(const struct key_set *before, const struct key_set *after, struct arena *arena,
                    struct key_diff *out, struct err *err);

#endif
