/* Parsing of index specifications: MongoDB's checks in its order of importance, with its codes and texts (index_key_validate.cpp,
 * fts_spec.cpp). Options are rows of a table; each says what its value may be. */
#include "index/spec.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/codes.h"
#include "bson/build.h"
#include "bson/compare.h"
#include "index/text/analyze.h"

#define TEXT_WEIGHT_MAX 99999
#define PRINT(s) (int) ((s).len < 200 ? (s).len : 200), (const char *) (s).p

/* What the user said, before it is made into a spec. */
struct raw_spec {
    struct bval key, name, weights, default_language, language_override, version;
    bool is_unique, is_sparse, is_hidden;
};

struct spec_parser {
    struct arena *arena;
    struct index_spec *spec;
    struct raw_spec raw;
    struct err *err;
};

static status fail_type(struct err *err, const char *option, const char *wanted, struct bval v) {
    return RAISE_CODE(err, CODE_TypeMismatch, "The field '%s' must be %s, but got %s", option, wanted,
                      btype_name(v.type));
}

static status unsupported(struct err *err, const char *what) {
    return err_raise(err, ST_UNSUPPORTED, CODE_CannotCreateIndex, __FILE__, __LINE__, "%s not supported yet", what);
}

/* ---- options ---- */

static status take_key(struct spec_parser *p, const char *option, struct bval v) {
    if (v.type != B_DOCUMENT) return fail_type(p->err, option, "an object", v);
    p->raw.key = v;
    return ST_OK;
}

static status take_name(struct spec_parser *p, const char *option, struct bval v) {
    if (v.type != B_STRING) return fail_type(p->err, option, "a string", v);
    struct slice name = bval_string(v);
    if (name.len == 0) return RAISE_CODE(p->err, CODE_CannotCreateIndex, "The index name cannot be empty");
    if (memchr(name.p, 0, name.len) != NULL)
        return RAISE_CODE(p->err, CODE_CannotCreateIndex, "The index name cannot contain a zero byte");
    if (slice_equal(name, SLICE_LIT("*"))) return RAISE_CODE(p->err, CODE_BadValue, "The index name '*' is not valid.");
    p->raw.name = v;
    return ST_OK;
}

static status take_version(struct spec_parser *p, const char *option, struct bval v) {
    int64_t version;
    if (!bval_is_number(v)) return fail_type(p->err, option, "a number", v);
    if (!bnum_to_int64_exact(bnum_of(v), &version) || version > INT32_MAX || version < INT32_MIN)
        return RAISE_CODE(p->err, CODE_BadValue, "Index version must be representable as a 32-bit integer");
    if (version != 1 && version != 2)
        return RAISE_CODE(p->err, CODE_CannotCreateIndex,
                          "Invalid index specification; cannot create an index with v=%lld, only 1 and 2 are possible",
                          (long long) version);
    p->raw.version = v;
    return ST_OK;
}

static status parse_bool(struct spec_parser *p, const char *option, struct bval v, bool *out) {
    if (v.type != B_BOOL && !bval_is_number(v))
        return RAISE_CODE(p->err, CODE_TypeMismatch,
                          "The field '%s' has a value of type %s, which is not convertible to bool", option,
                          btype_name(v.type));
    *out = bval_truthy(v);
    return ST_OK;
}

static status take_unique(struct spec_parser *p, const char *option, struct bval v) {
    return parse_bool(p, option, v, &p->raw.is_unique);
}

static status take_sparse(struct spec_parser *p, const char *option, struct bval v) {
    return parse_bool(p, option, v, &p->raw.is_sparse);
}

/* Accepted for old programs, without meaning: background, dropDups, ns. */
static status take_nothing(struct spec_parser *p, const char *option, struct bval v) {
    (void) p;
    (void) option;
    (void) v;
    return ST_OK;
}

/* False is what elmo does anyhow. */
static status refuse_true(struct spec_parser *p, const char *option, struct bval v) {
    bool is_wanted = false;
    char what[64];
    TRY(parse_bool(p, option, v, &is_wanted));
    (void) snprintf(what, sizeof(what), "The index option '%s' is", option);
    return is_wanted ? unsupported(p->err, what) : ST_OK;
}

static status refuse_any(struct spec_parser *p, const char *option, struct bval v) {
    (void) v;
    char what[64];
    (void) snprintf(what, sizeof(what), "The index option '%s' is", option);
    return unsupported(p->err, what);
}

static status take_collation(struct spec_parser *p, const char *option, struct bval v) {
    if (v.type != B_DOCUMENT) return fail_type(p->err, option, "an object", v);
    struct bval locale = bdoc_get_str(bval_doc(v), "locale");
    if (locale.type == B_STRING && slice_equal(bval_string(locale), SLICE_LIT("simple"))) return ST_OK;
    return unsupported(p->err, "Index collations other than {locale: \"simple\"} are");
}

static status take_weights(struct spec_parser *p, const char *option, struct bval v) {
    if (v.type != B_DOCUMENT) return fail_type(p->err, option, "an object", v);
    p->raw.weights = v;
    return ST_OK;
}

static status take_default_language(struct spec_parser *p, const char *option, struct bval v) {
    (void) option;
    if (v.type != B_STRING) return RAISE_CODE(p->err, CODE_CannotCreateIndex, "default_language needs a string type");
    p->raw.default_language = v;
    return ST_OK;
}

static status take_language_override(struct spec_parser *p, const char *option, struct bval v) {
    (void) option;
    if (v.type != B_STRING) return RAISE_CODE(p->err, CODE_CannotCreateIndex, "language_override must be a string");
    struct slice name = bval_string(v);
    if (name.len == 0 || name.p[0] == '$' || memchr(name.p, '.', name.len) != NULL ||
        memchr(name.p, 0, name.len) != NULL)
        return RAISE_CODE(p->err, CODE_CannotCreateIndex, "language_override is not valid");
    p->raw.language_override = v;
    return ST_OK;
}

static status take_text_version(struct spec_parser *p, const char *option, struct bval v) {
    int64_t version;
    if (!bval_is_number(v)) return fail_type(p->err, option, "a number", v);
    if (bnum_to_int64_exact(bnum_of(v), &version) && version == 3) return ST_OK;
    return RAISE_CODE(p->err, CODE_CannotCreateIndex, "text indexes have textIndexVersion 3 only");
}

static const struct spec_option {
    const char *name;
    status (*take)(struct spec_parser *p, const char *option, struct bval v);
} options[] = {
    {"key", take_key},
    {"name", take_name},
    {"v", take_version},
    {"unique", take_unique},
    {"sparse", take_sparse},
    {"background", take_nothing},
    {"dropDups", take_nothing},
    {"ns", take_nothing},
    {"hidden", refuse_true},
    {"clustered", refuse_true},
    {"prepareUnique", refuse_true},
    {"collation", take_collation},
    {"weights", take_weights},
    {"default_language", take_default_language},
    {"language_override", take_language_override},
    {"textIndexVersion", take_text_version},
    {"partialFilterExpression", refuse_any},
    {"expireAfterSeconds", refuse_any},
    {"storageEngine", refuse_any},
    {"wildcardProjection", refuse_any},
    {"columnstoreProjection", refuse_any},
    {"2dsphereIndexVersion", refuse_any},
    {"bits", refuse_any},
    {"min", refuse_any},
    {"max", refuse_any},
    {"bucketSize", refuse_any},
    {"finestIndexedLevel", refuse_any},
    {"coarsestIndexedLevel", refuse_any},
};

bool index_spec_has_option(struct slice name) {
    for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++)
        if (slice_equal(name, slice_str(options[i].name))) return true;
    return false;
}

static status take_option(struct spec_parser *p, struct belem e) {
    for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++)
        if (slice_equal(e.name, slice_str(options[i].name))) return options[i].take(p, options[i].name, e.value);
    return RAISE_CODE(p->err, CODE_InvalidIndexSpecificationOption,
                      "The field '%.*s' is not valid for an index specification", PRINT(e.name));
}

/* ---- the key pattern ---- */

static status check_field_name(struct spec_parser *p, struct slice name) {
    const uint8_t *at = name.p, *end = at + name.len;
    if (name.len == 0) return RAISE_CODE(p->err, CODE_CannotCreateIndex, "Index keys cannot be an empty field.");
    for (bool is_first = true;; is_first = false) {
        const uint8_t *dot = at < end ? memchr(at, '.', (size_t) (end - at)) : NULL;
        struct slice part = slice_of(at, (size_t) ((dot != NULL ? dot : end) - at));
        if (part.len == 0)
            return RAISE_CODE(p->err, CODE_CannotCreateIndex, "Index keys cannot contain an empty field.");
        bool is_dbref = !is_first &&
            (slice_equal(part, SLICE_LIT("$db")) || slice_equal(part, SLICE_LIT("$id")) ||
             slice_equal(part, SLICE_LIT("$ref")));
        if (part.p[0] == '$' && !is_dbref)
            return RAISE_CODE(p->err, CODE_CannotCreateIndex,
                              "Index key contains an illegal field name: field name starts with '$': '%.*s'",
                              PRINT(name));
        if (dot == NULL) return ST_OK;
        at = dot + 1;
    }
}

/* The kind that the pattern's strings name; only one may. */
static status find_kind(struct spec_parser *p, struct bdoc key) {
    static const char *const known[] = {"2d",     "2dsphere",    "geoHaystack",
                                        "hashed", "columnstore", "queryable_encrypted_range"};
    struct biter it = biter_of(key);
    struct belem e;
    p->spec->kind = INDEX_ORDERED;
    while (biter_next(&it, &e)) {
        if (e.value.type != B_STRING) continue;
        struct slice kind = bval_string(e.value);
        if (slice_equal(kind, SLICE_LIT("text"))) {
            p->spec->kind = INDEX_TEXT;
            continue;
        }
        for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
            char what[64];
            if (!slice_equal(kind, slice_str(known[i]))) continue;
            (void) snprintf(what, sizeof(what), "Indexes of kind '%s' are", known[i]);
            return unsupported(p->err, what);
        }
        return RAISE_CODE(p->err, CODE_CannotCreateIndex, "Unknown index plugin '%.*s'", PRINT(kind));
    }
    return ST_OK;
}

static status parse_direction(struct spec_parser *p, struct belem e, bool *descending) {
    if (!bval_is_number(e.value))
        return RAISE_CODE(p->err, CODE_CannotCreateIndex,
                          "Values in v:2 index key pattern cannot be of type %s. Only numbers > 0, numbers < 0, and "
                          "strings are allowed.",
                          btype_name(e.value.type));
    double direction = bnum_to_double(bnum_of(e.value));
    if (isnan(direction))
        return RAISE_CODE(p->err, CODE_CannotCreateIndex, "Values in the index key pattern cannot be NaN.");
    if (direction == 0)
        return RAISE_CODE(p->err, CODE_CannotCreateIndex, "Values in the index key pattern cannot be 0.");
    *descending = direction < 0;
    return ST_OK;
}

static bool is_wildcard(struct slice name) {
    return slice_equal(name, SLICE_LIT("$**")) || (name.len > 4 && memcmp(name.p + name.len - 4, ".$**", 4) == 0);
}

static status refuse_repeated_field(struct spec_parser *p, struct bdoc key) {
    struct biter it = biter_of(key);
    struct belem e;
    while (biter_next(&it, &e)) {
        struct biter rest = it;
        struct belem other;
        while (biter_next(&rest, &other))
            if (slice_equal(e.name, other.name))
                return RAISE_CODE(p->err, CODE_BadValue,
                                  "The field '%.*s' appears multiple times in the index key pattern", PRINT(e.name));
    }
    return ST_OK;
}

static status parse_ordered_fields(struct spec_parser *p, struct bdoc key) {
    struct biter it = biter_of(key);
    struct belem e;
    while (biter_next(&it, &e)) {
        struct index_field *field = &p->spec->fields[p->spec->field_count++];
        if (is_wildcard(e.name)) return unsupported(p->err, "Wildcard indexes are");
        TRY(parse_direction(p, e, &field->descending));
        if (slice_equal(e.name, SLICE_LIT("_fts")))
            return RAISE_CODE(p->err, CODE_CannotCreateIndex, "Index key contains an illegal field name: '_fts'");
        TRY(check_field_name(p, e.name));
        TRY(path_parse(p->arena, e.name, &field->path, p->err));
    }
    return ST_OK;
}

/* ---- text ---- */

static status add_text_field(struct spec_parser *p, struct slice name, int32_t weight) {
    struct index_spec *spec = p->spec;
    if (slice_equal(name, SLICE_LIT("$**"))) {
        spec->text_all_fields = true;
        return ST_OK;
    }
    TRY(check_field_name(p, name));
    for (uint32_t i = 0; i < spec->text_field_count; i++) {
        if (!slice_equal(spec->text_fields[i].path.text, name)) continue;
        spec->text_fields[i].weight = weight;
        return ST_OK;
    }
    spec->text_fields[spec->text_field_count].weight = weight;
    return path_parse(p->arena, name, &spec->text_fields[spec->text_field_count++].path, p->err);
}

static status add_weighted_fields(struct spec_parser *p, struct bdoc weights) {
    struct biter it = biter_of(weights);
    struct belem e;
    while (biter_next(&it, &e)) {
        if (!bval_is_number(e.value))
            return RAISE_CODE(p->err, CODE_CannotCreateIndex, "weight for text index needs numeric type");
        int64_t weight = 0;
        if (!bnum_to_int64(bnum_of(e.value), &weight) || weight < 1 || weight > TEXT_WEIGHT_MAX)
            return RAISE_CODE(
                p->err, CODE_CannotCreateIndex,
                "text index weight must be in the exclusive interval (0,%d) but the weight of '%.*s' is not",
                TEXT_WEIGHT_MAX + 1, PRINT(e.name));
        if (slice_equal(e.name, SLICE_LIT("$**")) && weight != 1)
            return unsupported(p->err, "A weight of \"$**\" other than 1 is");
        TRY(add_text_field(p, e.name, (int32_t) weight));
    }
    return ST_OK;
}

static int compare_text_fields(const void *a, const void *b) {
    const struct text_field *fa = a, *fb = b;
    return slice_compare(fa->path.text, fb->path.text);
}

static status copy_language(struct spec_parser *p, struct bval v, const char *otherwise, struct slice *out) {
    struct slice s = v.type == B_STRING ? bval_string(v) : slice_str(otherwise);
    char *copy = arena_strndup(p->arena, (const char *) s.p, s.len);
    if (copy == NULL) return RAISE(p->err, ST_NOMEM, "out of memory for an index specification");
    *out = slice_of(copy, s.len);
    return ST_OK;
}

static bool is_known_language(struct slice name) {
    static const char *const languages[] = {"none",    "danish",    "dutch",   "english",   "finnish",    "french",
                                            "german",  "hungarian", "italian", "norwegian", "portuguese", "romanian",
                                            "russian", "spanish",   "swedish", "turkish",   "da",         "nl",
                                            "en",      "fi",        "fr",      "de",        "hu",         "it",
                                            "nb",      "pt",        "ro",      "ru",        "es",         "sv",
                                            "tr"};
    char lower[16];
    if (name.len >= sizeof(lower)) return false;
    for (size_t i = 0; i < name.len; i++)
        lower[i] = (char) (name.p[i] >= 'A' && name.p[i] <= 'Z' ? name.p[i] + 32 : name.p[i]);
    for (size_t i = 0; i < sizeof(languages) / sizeof(languages[0]); i++)
        if (slice_equal(slice_str(languages[i]), slice_of(lower, name.len))) return true;
    return false;
}

/* The pattern as a user gives it, {title: "text", body: "text"}, or as listIndexes shows it, {_fts: "text", _ftsx: 1} with the
 * fields in `weights`. */
static status parse_text_fields(struct spec_parser *p, struct bdoc key) {
    struct index_spec *spec = p->spec;
    bool has_weights = p->raw.weights.type == B_DOCUMENT;
    struct bdoc weights = has_weights ? bval_doc(p->raw.weights) : bdoc_empty;
    if (p->raw.is_unique)
        return RAISE_CODE(p->err, CODE_CannotCreateIndex, "Index type 'text' does not support the unique option");
    spec->text_fields = arena_array(p->arena, struct text_field, bdoc_count(key) + bdoc_count(weights) + 1);
    if (spec->text_fields == NULL) return RAISE(p->err, ST_NOMEM, "out of memory for an index specification");
    bool is_normal = bdoc_get_str(key, "_fts").type == B_STRING;
    struct biter it = biter_of(key);
    struct belem e;
    while (biter_next(&it, &e)) {
        if (is_normal && (slice_equal(e.name, SLICE_LIT("_fts")) || slice_equal(e.name, SLICE_LIT("_ftsx")))) continue;
        if (e.value.type != B_STRING) return unsupported(p->err, "A compound index of text and other fields is");
        TRY(add_text_field(p, e.name, 1));
    }
    if (is_normal && bdoc_is_empty(weights))
        return RAISE_CODE(p->err, CODE_CannotCreateIndex,
                          "a text index with the key {_fts: \"text\"} must have 'weights'");
    TRY(add_weighted_fields(p, weights));
    qsort(spec->text_fields, spec->text_field_count, sizeof(spec->text_fields[0]), compare_text_fields);
    TRY(copy_language(p, p->raw.default_language, "english", &spec->default_language));
    if (!is_known_language(spec->default_language))
        return RAISE_CODE(p->err, CODE_CannotCreateIndex, "default_language is not valid: '%.*s'",
                          PRINT(spec->default_language));
    enum text_language language;
    if (text_language_parse(spec->default_language, &language, NULL) != ST_OK)
        return unsupported(p->err, "A default_language other than \"english\" and \"none\" is");
    return copy_language(p, p->raw.language_override, "language", &spec->language_override);
}

/* ---- name and normal form ---- */

void index_make_name(struct buf *name, struct bdoc key) {
    struct biter it = biter_of(key);
    struct belem e;
    while (biter_next(&it, &e)) {
        int64_t whole;
        if (name->len != 0) (void) buf_append_u8(name, '_');
        (void) buf_append_slice(name, e.name);
        (void) buf_append_u8(name, '_');
        if (e.value.type == B_STRING) (void) buf_append_slice(name, bval_string(e.value));
        if (!bval_is_number(e.value)) continue;
        if (bnum_to_int64_exact(bnum_of(e.value), &whole)) (void) buf_append_format(name, "%lld", (long long) whole);
        else (void) buf_append_format(name, "%.15g", bnum_to_double(bnum_of(e.value)));
    }
}

static status make_name(struct spec_parser *p, struct buf *name, struct bdoc key) {
    index_make_name(name, key);
    return name->failed ? RAISE(p->err, ST_NOMEM, "out of memory for an index name") : ST_OK;
}

static void build_text_options(struct bbuild *b, const struct index_spec *spec) {
    struct bbuild weights = bbuild_open_doc(b, SLICE_LIT("weights"));
    if (spec->text_all_fields) bbuild_int32(&weights, "$**", 1);
    for (uint32_t i = 0; i < spec->text_field_count; i++)
        bbuild_number(&weights, spec->text_fields[i].path.text,
                      (struct bnum){.type = B_INT32, .i32 = spec->text_fields[i].weight});
    bbuild_close(&weights);
    bbuild_slice(b, "default_language", spec->default_language);
    bbuild_slice(b, "language_override", spec->language_override);
    bbuild_int32(b, "textIndexVersion", 3);
}

/* The normal form, into the arena: {v, key, name, unique?, sparse?, weights?...}. */
static status build_document(struct spec_parser *p, struct slice name, struct buf *buf) {
    struct index_spec *spec = p->spec;
    struct bbuild b;
    int64_t version = 2;
    if (p->raw.version.type != B_MISSING) (void) bnum_to_int64(bnum_of(p->raw.version), &version);
    bbuild_begin(&b, buf);
    bbuild_int32(&b, "v", (int32_t) version);
    if (spec->kind == INDEX_TEXT) {
        struct bbuild key = bbuild_open_doc(&b, SLICE_LIT("key"));
        bbuild_str(&key, "_fts", "text");
        bbuild_int32(&key, "_ftsx", 1);
        bbuild_close(&key);
    } else {
        bbuild_doc(&b, "key", bval_doc(p->raw.key));
    }
    bbuild_slice(&b, "name", name);
    if (spec->is_unique && !spec->is_id) bbuild_bool(&b, "unique", true);
    if (spec->is_sparse) bbuild_bool(&b, "sparse", true);
    if (spec->kind == INDEX_TEXT) build_text_options(&b, spec);
    struct bdoc d = bbuild_finish(&b);
    const uint8_t *copy = d.p != NULL ? arena_copy(p->arena, d.p, d.len) : NULL;
    if (copy == NULL) return RAISE(p->err, ST_NOMEM, "out of memory for an index specification");
    spec->document = (struct bdoc){copy, d.len};
    spec->key = bval_doc(bdoc_get_str(spec->document, "key"));
    spec->name = bval_string(bdoc_get_str(spec->document, "name"));
    return ST_OK;
}

static status finish(struct spec_parser *p) {
    struct buf name, document;
    status st = ST_OK;
    buf_init(&name, p->arena->mem);
    buf_init(&document, p->arena->mem);
    if (p->spec->is_id) (void) buf_append(&name, "_id_", 4);
    else if (p->raw.name.type == B_STRING) (void) buf_append_slice(&name, bval_string(p->raw.name));
    else TRY_OUT(make_name(p, &name, bval_doc(p->raw.key)));
    if (name.failed) TRY_OUT(RAISE(p->err, ST_NOMEM, "out of memory for an index name"));
    TRY_OUT(build_document(p, buf_slice(&name), &document));
out:
    buf_release(&name);
    buf_release(&document);
    return st;
}

/* ---- _id and the whole ---- */

/* {_id: 1} is the one index on _id alone; {_id: -1} is refused, and nothing else may have its name. */
static status check_id_index(struct spec_parser *p) {
    struct index_spec *spec = p->spec;
    const struct index_field *field = &spec->fields[0];
    int64_t direction;
    struct bval first = bdoc_get_str(bval_doc(p->raw.key), "_id");
    bool is_id = spec->kind == INDEX_ORDERED && spec->field_count == 1 &&
        slice_equal(field->path.text, SLICE_LIT("_id")) && bnum_to_int64(bnum_of(first), &direction) &&
        (direction == 1 || direction == -1);
    if (!is_id) {
        if (p->raw.name.type == B_STRING && slice_equal(bval_string(p->raw.name), SLICE_LIT("_id_")))
            return RAISE_CODE(
                p->err, CODE_BadValue,
                "The index name '_id_' is reserved for the _id index, which must have key pattern {_id: 1}");
        return ST_OK;
    }
    if (direction == -1)
        return RAISE_CODE(p->err, CODE_BadValue,
                          "The field 'key' for an _id index must be {_id: 1}, but got {_id: -1}");
    if (p->raw.is_sparse || p->raw.is_unique)
        return RAISE_CODE(p->err, CODE_InvalidIndexSpecificationOption,
                          "The field '%s' is not valid for an _id index specification",
                          p->raw.is_sparse ? "sparse" : "unique");
    spec->is_id = spec->is_unique = true;
    return ST_OK;
}

static status parse_key(struct spec_parser *p) {
    struct bdoc key = bval_doc(p->raw.key);
    uint32_t count = bdoc_count(key);
    if (count == 0) return RAISE_CODE(p->err, CODE_CannotCreateIndex, "Index keys cannot be empty.");
    if (count > INDEX_FIELDS_MAX)
        return RAISE_CODE(p->err, CODE_CannotCreateIndex,
                          "The index key pattern has %u fields, more than the limit of %d", count, INDEX_FIELDS_MAX);
    TRY(refuse_repeated_field(p, key));
    TRY(find_kind(p, key));
    if (p->spec->kind == INDEX_TEXT) return parse_text_fields(p, key);
    if (p->raw.weights.type != B_MISSING || p->raw.default_language.type != B_MISSING ||
        p->raw.language_override.type != B_MISSING)
        return RAISE_CODE(
            p->err, CODE_InvalidIndexSpecificationOption,
            "The fields 'weights', 'default_language' and 'language_override' are valid for a text index only");
    return parse_ordered_fields(p, key);
}

status index_spec_parse(struct arena *arena, struct bdoc document, struct index_spec *out, struct err *err) {
    struct index_spec spec = {0};
    struct spec_parser p = {.arena = arena, .spec = &spec, .err = err};
    struct biter it = biter_of(document);
    struct belem e;
    while (biter_next(&it, &e)) TRY(take_option(&p, e));
    if (p.raw.key.type == B_MISSING)
        return RAISE_CODE(err, CODE_FailedToParse, "The 'key' field is a required property of an index specification");
    TRY(parse_key(&p));
    spec.is_unique = p.raw.is_unique;
    spec.is_sparse = p.raw.is_sparse;
    TRY(check_id_index(&p));
    TRY(finish(&p));
    *out = spec;
    return ST_OK;
}

static bool same_text_fields(const struct index_spec *a, const struct index_spec *b) {
    if (a->text_field_count != b->text_field_count || a->text_all_fields != b->text_all_fields) return false;
    for (uint32_t i = 0; i < a->text_field_count; i++)
        if (!slice_equal(a->text_fields[i].path.text, b->text_fields[i].path.text) ||
            a->text_fields[i].weight != b->text_fields[i].weight)
            return false;
    return slice_equal(a->default_language, b->default_language) &&
        slice_equal(a->language_override, b->language_override);
}

bool index_spec_same(const struct index_spec *a, const struct index_spec *b) {
    if (a->kind != b->kind || a->is_unique != b->is_unique || a->is_sparse != b->is_sparse ||
        bdoc_compare(a->key, b->key) != 0)
        return false;
    return a->kind != INDEX_TEXT || same_text_fields(a, b);
}
