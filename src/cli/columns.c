/* The columns of CSV and TSV: see columns.h. */
#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "columns.h"
#include "date_layout.h"
#include "json_out.h"

enum column_type {
    TYPE_AUTO,
    TYPE_BINARY,
    TYPE_BOOLEAN,
    TYPE_DATE,
    TYPE_DECIMAL,
    TYPE_DOUBLE,
    TYPE_INT32,
    TYPE_INT64,
    TYPE_STRING
};

static const struct {
    const char *name;
    enum column_type type;
    bool takes_argument;
    enum date_style style;
} types[] = {
    {"auto", TYPE_AUTO, false, DATE_GO},           {"binary", TYPE_BINARY, true, DATE_GO},
    {"boolean", TYPE_BOOLEAN, false, DATE_GO},     {"date", TYPE_DATE, true, DATE_GO},
    {"date_go", TYPE_DATE, true, DATE_GO},         {"date_ms", TYPE_DATE, true, DATE_MS},
    {"date_oracle", TYPE_DATE, true, DATE_ORACLE}, {"decimal", TYPE_DECIMAL, false, DATE_GO},
    {"double", TYPE_DOUBLE, false, DATE_GO},       {"int32", TYPE_INT32, false, DATE_GO},
    {"int64", TYPE_INT64, false, DATE_GO},         {"string", TYPE_STRING, false, DATE_GO},
};

enum encoding { ENCODING_BASE64, ENCODING_BASE32, ENCODING_HEX };

struct column {
    char *name;
    const char *type_name;
    enum column_type type;
    enum encoding encoding;
    char *layout; /* of a date */
};

/* A part of a name. Children hang in a list, in the order of the columns. */
struct column_node {
    const char *name; /* in the column's name */
    size_t name_len;
    size_t first, last, next; /* nodes; 0: none */
    size_t column;            /* of a leaf */
    bool is_leaf, is_array;
};

/* A value on its way into the document. */
struct cell {
    bool is_there;
    bson_type_t type;
    union {
        double number;
        int64_t integer;
        bool boolean;
        bson_decimal128_t decimal;
        struct {
            const char *p; /* in the row's bytes; binary is decoded in place */
            size_t len;
        } bytes;
    } v;
};

bool parse_grace_of(const char *text, enum parse_grace *out) {
    static const char *const names[] = {"stop", "autoCast", "skipField", "skipRow"};
    for (int i = 0; i < 4; i++)
        if (strcmp(text, names[i]) == 0) return *out = (enum parse_grace) i, true;
    return false;
}

/* ---- names and types ---- */

/* The argument between the brackets, '\' taking the meaning from the next character. */
static char *unescape(const char *p, size_t len) {
    char *out = bson_malloc(len + 1), *to = out;
    for (size_t i = 0; i < len; i++) {
        if (p[i] == '\\' && i + 1 < len) i++;
        *to++ = p[i];
    }
    *to = '\0';
    return out;
}

static bool take_argument(struct column *c, size_t type, char *argument, const char *what, const char *header) {
    static const char *const encodings[] = {"base64", "base32", "hex"};
    if (types[type].type == TYPE_DATE) {
        c->layout = date_layout_new(types[type].style, argument);
        return true;
    }
    if (types[type].type == TYPE_BINARY) {
        for (int i = 0; i < 3; i++)
            if (strcmp(argument, encodings[i]) == 0) return c->encoding = (enum encoding) i, true;
        return complain("%s: '%s': binary takes base64, base32 or hex, not '%s'", what, header, argument), false;
    }
    if (argument[0] == '\0') return true;
    return complain("%s: '%s': the type %s takes no argument", what, header, types[type].name), false;
}

/* "zip.string()", "born.date(2006-01-02)". */
static bool take_typed(struct column *c, const char *header, const char *what) {
    size_t len = strlen(header), type = 0;
    const char *open = strchr(header, '('), *dot = NULL;
    while (open != NULL) { /* the bracket that follows ".TYPE" */
        const char *word = open;
        while (word > header && (isalnum((unsigned char) word[-1]) || word[-1] == '_')) word--;
        if (word > header && word[-1] == '.' && word != open) {
            dot = word - 1;
            break;
        }
        open = strchr(open + 1, '(');
    }
    if (dot == NULL || header[len - 1] != ')')
        return complain("%s: '%s' has no type: it must be NAME.TYPE(), like zip.string()", what, header), false;
    size_t word_len = (size_t) (open - dot - 1);
    while (type < sizeof(types) / sizeof(types[0]) &&
           !(strlen(types[type].name) == word_len && memcmp(types[type].name, dot + 1, word_len) == 0))
        type++;
    if (type == sizeof(types) / sizeof(types[0]))
        return complain("%s: '%s': there is no type '%.*s'", what, header, (int) word_len, dot + 1), false;
    char *argument = unescape(open + 1, (size_t) (header + len - 1 - (open + 1)));
    c->name = bson_strndup(header, (size_t) (dot - header));
    c->type = types[type].type;
    c->type_name = types[type].name;
    bool ok = take_argument(c, type, argument, what, header);
    bson_free(argument);
    return ok;
}

/* ---- the tree of names ---- */

static size_t find_child(const struct columns *c, size_t parent, const char *name, size_t len) {
    size_t child = c->nodes[parent].first;
    while (child != 0 && (c->nodes[child].name_len != len || memcmp(c->nodes[child].name, name, len) != 0))
        child = c->nodes[child].next;
    return child;
}

static size_t add_child(struct columns *c, size_t parent, const char *name, size_t len) {
    c->nodes = bson_realloc(c->nodes, (c->node_count + 1) * sizeof(*c->nodes));
    size_t node = c->node_count++;
    c->nodes[node] = (struct column_node){.name = name, .name_len = len};
    if (c->nodes[parent].last != 0) c->nodes[c->nodes[parent].last].next = node;
    else c->nodes[parent].first = node;
    c->nodes[parent].last = node;
    return node;
}

static bool is_index(const char *name, size_t len) {
    if (len == 0 || len > 6 || (len > 1 && name[0] == '0')) return false;
    for (size_t i = 0; i < len; i++)
        if (!isdigit((unsigned char) name[i])) return false;
    return true;
}

static size_t child_count(const struct columns *c, size_t parent) {
    size_t n = 0;
    for (size_t child = c->nodes[parent].first; child != 0; child = c->nodes[child].next) n++;
    return n;
}

/* With arrays: do the parent's other children agree that it is one (or not), and is this the next index? */
static bool check_array(struct columns *c, size_t parent, const char *name, size_t len, const char *what,
                        const char *full) {
    if (!c->use_arrays || parent == 0) return true;
    struct column_node *node = &c->nodes[parent];
    bool is = is_index(name, len);
    if (node->first != 0 && node->is_array != is)
        return complain("%s: '%s' and another field contradict each other: array and document", what, full), false;
    node->is_array = is;
    if (!is || find_child(c, parent, name, len) != 0 || strtoull(name, NULL, 10) == child_count(c, parent)) return true;
    return complain("%s: '%s': the indexes of an array must begin with 0 and go on one by one", what, full), false;
}

static bool add_to_tree(struct columns *c, size_t column, const char *what) {
    const char *full = c->columns[column].name, *p = full;
    size_t parent = 0;
    for (int depth = 0;; depth++) {
        const char *dot = strchr(p, '.');
        size_t len = dot != NULL ? (size_t) (dot - p) : strlen(p);
        if (depth == 100) return complain("%s: '%.60s...' has too many parts", what, full), false;
        if (!check_array(c, parent, p, len, what, full)) return false;
        size_t child = find_child(c, parent, p, len);
        if (child != 0 && (dot == NULL || c->nodes[child].is_leaf)) {
            if (dot == NULL && c->nodes[child].is_leaf)
                return complain("%s: the field '%s' is there twice", what, full), false;
            return complain("%s: '%s' and another field contradict each other: value and document", what, full), false;
        }
        if (child == 0) child = add_child(c, parent, p, len);
        if (dot == NULL) {
            c->nodes[child].is_leaf = true;
            c->nodes[child].column = column;
            return true;
        }
        parent = child;
        p = dot + 1;
    }
}

bool columns_init(struct columns *c, const struct field_list *names, bool typed, const char *what) {
    struct field_list bare = {0};
    bool ok = true;
    c->count = names->count;
    c->columns = bson_malloc0((c->count + 1) * sizeof(*c->columns));
    c->cells = bson_malloc0((c->count + 1) * sizeof(*c->cells));
    c->nodes = bson_malloc0(sizeof(*c->nodes));
    c->node_count = 1;
    for (size_t i = 0; ok && i < c->count; i++) {
        if (typed) ok = take_typed(&c->columns[i], names->names[i], what);
        else c->columns[i] = (struct column){.name = bson_strdup(names->names[i]), .type_name = "auto"};
        if (ok) field_list_add(&bare, c->columns[i].name, strlen(c->columns[i].name));
    }
    ok = ok && field_list_check(&bare, what);
    for (size_t i = 0; ok && i < c->count; i++) ok = add_to_tree(c, i, what);
    field_list_release(&bare);
    return ok;
}

void columns_release(struct columns *c) {
    for (size_t i = 0; c->columns != NULL && i < c->count; i++) {
        bson_free(c->columns[i].name);
        bson_free(c->columns[i].layout);
    }
    bson_free(c->columns);
    bson_free(c->cells);
    bson_free(c->nodes);
}

/* ---- values ---- */

static bool parse_integer(const char *s, size_t len, int64_t min, int64_t max, struct cell *out) {
    char *end;
    if (len == 0 || !(isdigit((unsigned char) s[0]) || ((s[0] == '-' || s[0] == '+') && isdigit((unsigned char) s[1]))))
        return false;
    errno = 0;
    long long v = strtoll(s, &end, 10);
    if (errno != 0 || end != s + len || v < min || v > max) return false;
    out->v.integer = v;
    return true;
}

/* What Go's ParseFloat takes: no blanks, no "nan(...)", hexadecimal only with an exponent, nothing out of range. */
static bool parse_double(const char *s, size_t len, struct cell *out) {
    char *end;
    if (len == 0 || isspace((unsigned char) s[0]) || strchr(s, '(') != NULL) return false;
    if (strpbrk(s, "xX") != NULL && strpbrk(s, "pP") == NULL) return false;
    double v = strtod(s, &end);
    bool spelt = strpbrk(s, "iInN") != NULL; /* infinity is meant */
    if (end != s + len || (isinf(v) && !spelt)) return false;
    out->type = BSON_TYPE_DOUBLE;
    out->v.number = v;
    return true;
}

static void parse_auto(const char *s, size_t len, struct cell *out) {
    bool may_be_number = len > 0 && len < 400 && (isdigit((unsigned char) s[0]) || strchr("+-.iInN", s[0]) != NULL);
    if (may_be_number && parse_integer(s, len, INT64_MIN, INT64_MAX, out)) {
        out->type = out->v.integer >= INT32_MIN && out->v.integer <= INT32_MAX ? BSON_TYPE_INT32 : BSON_TYPE_INT64;
    } else if (!may_be_number || !parse_double(s, len, out)) {
        out->type = BSON_TYPE_UTF8;
        out->v.bytes.p = s;
        out->v.bytes.len = len;
    }
}

static int digit_of(enum encoding e, char c) {
    static const char base64[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    static const char base32[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    if (c == '\0') return -1;
    if (e == ENCODING_HEX)
        return isdigit((unsigned char) c) ? c - '0'
            : isxdigit((unsigned char) c) ? tolower((unsigned char) c) - 'a' + 10
                                          : -1;
    const char *digits = e == ENCODING_BASE64 ? base64 : base32, *found = strchr(digits, c);
    return found != NULL ? (int) (found - digits) : -1;
}

/* In place: what is decoded is never longer. */
static bool parse_binary(char *s, size_t len, enum encoding e, struct cell *out) {
    static const int bits_of[] = {6, 5, 4}, group_of[] = {4, 8, 2};
    uint32_t held = 0;
    int bits = 0;
    size_t n = 0, i = 0;
    if (len % (size_t) group_of[e] != 0) return false;
    for (; i < len && s[i] != '='; i++) {
        int digit = digit_of(e, s[i]);
        if (digit < 0) return false;
        held = held << bits_of[e] | (uint32_t) digit;
        bits += bits_of[e];
        if (bits < 8) continue;
        bits -= 8;
        s[n++] = (char) (held >> bits);
    }
    if (e == ENCODING_HEX ? i < len : len - i >= (size_t) group_of[e]) return false;
    if (bits >= bits_of[e]) return false; /* a digit too many */
    for (; i < len; i++)
        if (s[i] != '=') return false;
    out->type = BSON_TYPE_BINARY;
    out->v.bytes.p = s;
    out->v.bytes.len = n;
    return true;
}

static bool parse_boolean(const char *s, struct cell *out) {
    out->type = BSON_TYPE_BOOL;
    out->v.boolean = strcasecmp(s, "true") == 0 || strcmp(s, "1") == 0;
    return out->v.boolean || strcasecmp(s, "false") == 0 || strcmp(s, "0") == 0;
}

static bool parse_cell(const struct column *c, char *s, size_t len, struct cell *out) {
    switch (c->type) {
    case TYPE_AUTO: parse_auto(s, len, out); return true;
    case TYPE_BINARY: return parse_binary(s, len, c->encoding, out);
    case TYPE_BOOLEAN: return parse_boolean(s, out);
    case TYPE_DATE: out->type = BSON_TYPE_DATE_TIME; return date_layout_parse(c->layout, s, &out->v.integer);
    case TYPE_DECIMAL:
        out->type = BSON_TYPE_DECIMAL128;
        return len > 0 && bson_decimal128_from_string(s, &out->v.decimal);
    case TYPE_DOUBLE: return parse_double(s, len, out);
    case TYPE_INT32: out->type = BSON_TYPE_INT32; return parse_integer(s, len, INT32_MIN, INT32_MAX, out);
    case TYPE_INT64: out->type = BSON_TYPE_INT64; return parse_integer(s, len, INT64_MIN, INT64_MAX, out);
    case TYPE_STRING:
        out->type = BSON_TYPE_UTF8;
        out->v.bytes.p = s;
        out->v.bytes.len = len;
        return true;
    }
    return false;
}

/* ---- documents ---- */

static bool append_cell(bson_t *out, const char *name, size_t name_len, const struct cell *cell) {
    int len = (int) name_len;
    switch (cell->type) {
    case BSON_TYPE_UTF8: return bson_append_utf8(out, name, len, cell->v.bytes.p, (int) cell->v.bytes.len);
    case BSON_TYPE_BINARY:
        return bson_append_binary(out, name, len, BSON_SUBTYPE_BINARY, (const uint8_t *) cell->v.bytes.p,
                                  (uint32_t) cell->v.bytes.len);
    case BSON_TYPE_BOOL: return bson_append_bool(out, name, len, cell->v.boolean);
    case BSON_TYPE_DATE_TIME: return bson_append_date_time(out, name, len, cell->v.integer);
    case BSON_TYPE_DECIMAL128: return bson_append_decimal128(out, name, len, &cell->v.decimal);
    case BSON_TYPE_DOUBLE: return bson_append_double(out, name, len, cell->v.number);
    case BSON_TYPE_INT32: return bson_append_int32(out, name, len, (int32_t) cell->v.integer);
    case BSON_TYPE_INT64: return bson_append_int64(out, name, len, cell->v.integer);
    default: return false;
    }
}

static bool has_any(const struct columns *c, size_t node) {
    if (c->nodes[node].is_leaf) return c->cells[c->nodes[node].column].is_there;
    for (size_t child = c->nodes[node].first; child != 0; child = c->nodes[child].next)
        if (has_any(c, child)) return true;
    return false;
}

static bool append_node(const struct columns *c, size_t parent, bson_t *out, struct csv_row *row) {
    bool gap = false;
    for (size_t child = c->nodes[parent].first; child != 0; child = c->nodes[child].next) {
        const struct column_node *node = &c->nodes[child];
        bson_t inner;
        bool ok = true;
        if (!has_any(c, child)) {
            gap = true;
            continue;
        }
        if (gap && c->nodes[parent].is_array)
            return snprintf(row->error, sizeof(row->error), "element %.*s of an array follows one that is missing",
                            (int) node->name_len, node->name),
                   false;
        if (node->is_leaf) {
            ok = append_cell(out, node->name, node->name_len, &c->cells[node->column]);
        } else {
            if (node->is_array) bson_append_array_begin(out, node->name, (int) node->name_len, &inner);
            else bson_append_document_begin(out, node->name, (int) node->name_len, &inner);
            ok = append_node(c, child, &inner, row);
            if (node->is_array) bson_append_array_end(out, &inner);
            else bson_append_document_end(out, &inner);
        }
        if (!ok) return false;
    }
    return true;
}

/* A value of the wrong type. True: go on with the row. */
static bool be_graceful(struct columns *c, size_t i, struct csv_row *row, struct cell *cell, bool *skip) {
    const char *s = row->bytes + row->fields[i].at;
    if (c->grace == GRACE_SKIP_FIELD) return true;
    if (c->grace == GRACE_AUTO_CAST) {
        parse_auto(s, row->fields[i].len, cell);
        cell->is_there = true;
        return true;
    }
    *skip = c->grace == GRACE_SKIP_ROW;
    (void) snprintf(row->error, sizeof(row->error), "'%.40s' is no %s (column '%.60s')", s, c->columns[i].type_name,
                    c->columns[i].name);
    return false;
}

/* Fields beyond the columns are called field<N>, counted from 0, as in mongoimport. */
static bool append_surplus(const struct columns *c, struct csv_row *row, bson_t *out) {
    for (size_t i = c->count; i < row->count; i++) {
        char name[32];
        struct cell cell;
        int len = snprintf(name, sizeof(name), "field%zu", i);
        if (row->fields[i].len == 0 && c->ignore_blanks) continue;
        if (find_child(c, 0, name, (size_t) len) != 0)
            return snprintf(row->error, sizeof(row->error), "there are more fields than names, and '%s' is taken",
                            name),
                   false;
        parse_auto(row->bytes + row->fields[i].at, row->fields[i].len, &cell);
        if (!append_cell(out, name, (size_t) len, &cell)) return false;
    }
    return true;
}

bool columns_document(struct columns *c, struct csv_row *row, bson_t *out, bool *skip) {
    *skip = false;
    for (size_t i = 0; i < row->count; i++) {
        const struct csv_field *field = &row->fields[i];
        if (bson_utf8_validate(row->bytes + field->at, field->len, true)) continue;
        return snprintf(row->error, sizeof(row->error), "field %zu is not UTF-8", i + 1), false;
    }
    for (size_t i = 0; i < c->count; i++) {
        struct cell *cell = &c->cells[i];
        cell->is_there = false;
        if (i >= row->count || (row->fields[i].len == 0 && c->ignore_blanks)) continue;
        cell->is_there = parse_cell(&c->columns[i], row->bytes + row->fields[i].at, row->fields[i].len, cell);
        if (!cell->is_there && !be_graceful(c, i, row, cell, skip)) return false;
    }
    return append_node(c, 0, out, row) && append_surplus(c, row, out);
}
