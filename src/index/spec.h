/* Index specifications: what createIndexes says, checked and normalised. Immutable once parsed. */
#ifndef ELMO_INDEX_SPEC_H
#define ELMO_INDEX_SPEC_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "bson/path.h"
#include "bson/value.h"

#define INDEX_FIELDS_MAX 32
#define INDEX_KEYS_PER_DOCUMENT_MAX 100000  /* a bound on the keys of one document in one index */
#define INDEX_KEY_LEN_MAX (8 * 1024 * 1024) /* of one key: with prefix and locator it stays below the store's limit */
#define INDEX_KEY_BYTES_PER_DOCUMENT_MAX (64 * 1024 * 1024) /* of all keys of one document in one index */

enum index_kind { INDEX_ORDERED, INDEX_TEXT };

struct index_field {
    struct path path;
    bool descending;
};

struct text_field {
    struct path path;
    int32_t weight;
};

struct index_spec {
    enum index_kind kind;
    struct slice name;
    struct bdoc document; /* the whole spec as listIndexes shows it (v, key, name, options), normalised */
    struct bdoc key;      /* its `key` */
    uint32_t field_count;
    struct index_field fields[INDEX_FIELDS_MAX];
    bool is_unique, is_sparse, is_id;
    /* text */
    uint32_t text_field_count;
    struct text_field *text_fields;
    bool text_all_fields; /* {"$**": "text"} */
    struct slice default_language, language_override;
};

/* Parses {key: {...}, name?, unique?, sparse?, weights?, default_language?, ...}. All slices point into the arena. Unknown options and
 * kinds that MongoDB has and elmo does not are refused with MongoDB's codes (CannotCreateIndex 67, InvalidIndexSpecificationOption
 * 197, ...). A missing name is made as MongoDB makes it ("a_1_b_-1"). */
/* Is it the name of something that may stand in a specification? */
bool index_spec_has_option(struct slice name);
status index_spec_parse(struct arena *arena, struct bdoc document, struct index_spec *out, struct err *err);
/* Appends the name that an index of this key gets when it has none, "a_1_b_-1", "title_text": numbers as a shell prints them. Any document will do. */
void index_make_name(struct buf *name, struct bdoc key);
/* Same key pattern and options but for the name. */
bool index_spec_same(const struct index_spec *a, const struct index_spec *b);

#endif
