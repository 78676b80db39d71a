/* Choosing and renaming namespaces: see namespaces.h. */
#include <string.h>

#include "json_out.h"
#include "namespaces.h"

#define VARIABLES_MAX 32

/* A pattern in pieces: literal text, and variables between it. */
struct piece {
    bool is_variable;
    const char *name; /* of a variable; NULL for an asterisk */
    size_t name_len;
    char literal;
};
#define PIECES_MAX 1024

struct pattern {
    struct piece pieces[PIECES_MAX];
    int count, variable_count;
};

/* Complains with `what` when the text is no pattern. */
static bool parse(const char *text, bool names, const char *what, struct pattern *out) {
    out->count = out->variable_count = 0;
    for (const char *p = text; *p != '\0'; p++) {
        struct piece *piece = &out->pieces[out->count];
        const char *end = names && *p == '$' ? strchr(p + 1, '$') : NULL;
        if (out->count == PIECES_MAX || out->variable_count == VARIABLES_MAX) {
            (void) complain("%s '%s': the pattern is too long", what, text);
            return false;
        }
        if (*p == '$' && end == NULL) {
            (void) complain(names ? "%s '%s': a '$' without its partner" : "%s '%s': a '$' has no meaning here", what,
                            text);
            return false;
        }
        if (end != NULL) {
            *piece = (struct piece){.is_variable = true, .name = p + 1, .name_len = (size_t) (end - p - 1)};
            p = end;
        } else if (*p == '*') {
            *piece = (struct piece){.is_variable = true};
        } else {
            if (*p == '\\' && p[1] != '\0') p++;
            *piece = (struct piece){.literal = *p};
        }
        out->variable_count += piece->is_variable;
        out->count++;
    }
    return true;
}

struct match {
    const char *begin[VARIABLES_MAX];
    size_t len[VARIABLES_MAX];
};

/* Each variable is as short as it can be, the first ones first. When the rest does not fit only the last variable need take more: whatever an
 * earlier one would win by taking more, the last one wins too. */
static bool match_pattern(const struct pattern *p, const char *text, struct match *m) {
    int piece = 0, variable = 0, back_piece = -1, back_variable = 0;
    const char *at = text, *back_at = NULL;
    for (;;) {
        if (piece < p->count && p->pieces[piece].is_variable) {
            m->begin[variable] = at;
            m->len[variable] = 0;
            back_piece = piece++;
            back_variable = variable++;
            back_at = at;
        } else if (piece < p->count && *at != '\0' && p->pieces[piece].literal == *at) {
            piece++;
            at++;
        } else if (piece == p->count && *at == '\0') {
            return true;
        } else if (back_piece >= 0 && *back_at != '\0') { /* the last variable takes one character more */
            m->len[back_variable]++;
            at = ++back_at;
            piece = back_piece + 1;
            variable = back_variable + 1;
        } else {
            return false;
        }
    }
}

static bool fits(const char *text, const char *ns) {
    struct pattern *p = bson_malloc(sizeof(*p));
    struct match m;
    bool is = parse(text, false, "the pattern", p) && match_pattern(p, ns, &m);
    bson_free(p);
    return is;
}

/* Which of from's variables a variable of `to` is; -1: none. */
static int find_variable(const struct pattern *from, const struct piece *piece, int ordinal) {
    int v = 0;
    for (int i = 0; i < from->count; i++) {
        const struct piece *f = &from->pieces[i];
        if (!f->is_variable) continue;
        if (piece->name == NULL
                ? v == ordinal
                : f->name != NULL && f->name_len == piece->name_len && memcmp(f->name, piece->name, f->name_len) == 0)
            return v;
        v++;
    }
    return -1;
}

static bool check_pair(const char *from_text, const char *to_text, struct pattern *from, struct pattern *to) {
    if (!parse(from_text, true, "--nsFrom", from) || !parse(to_text, true, "--nsTo", to)) return false;
    bool named = strchr(from_text, '$') != NULL;
    if (!named && from->variable_count != to->variable_count) {
        (void) complain("--nsFrom '%s' and --nsTo '%s' have different numbers of asterisks", from_text, to_text);
        return false;
    }
    for (int i = 0, ordinal = 0; i < to->count; i++) {
        const struct piece *piece = &to->pieces[i];
        if (!piece->is_variable) continue;
        if (find_variable(from, piece, ordinal++) >= 0) continue;
        (void) complain("--nsTo '%s': --nsFrom '%s' has no '%.*s'", to_text, from_text,
                        piece->name != NULL ? (int) piece->name_len : 1, piece->name != NULL ? piece->name : "*");
        return false;
    }
    return true;
}

static bool check_list(const char *const *list, const char *what, struct pattern *p) {
    for (int i = 0; list[i] != NULL; i++)
        if (!parse(list[i], false, what, p)) return false;
    return true;
}

bool ns_filter_check(const struct ns_filter *f) {
    struct pattern *from = bson_malloc(sizeof(*from)), *to = bson_malloc(sizeof(*to));
    bool ok = check_list(f->include, "--nsInclude", from) && check_list(f->exclude, "--nsExclude", from);
    int i = 0;
    for (; ok && f->from[i] != NULL && f->to[i] != NULL; i++) ok = check_pair(f->from[i], f->to[i], from, to);
    if (ok && (f->from[i] != NULL || f->to[i] != NULL)) {
        (void) complain("--nsFrom and --nsTo come in pairs");
        ok = false;
    }
    bson_free(from);
    bson_free(to);
    return ok;
}

static bool any_fits(const char *const *list, const char *ns) {
    for (int i = 0; list[i] != NULL; i++)
        if (fits(list[i], ns)) return true;
    return false;
}

bool ns_filter_takes(const struct ns_filter *f, const char *db, const char *coll) {
    char *ns = bson_strdup_printf("%s.%s", db, coll);
    bool takes = (f->include[0] == NULL || any_fits(f->include, ns)) && !any_fits(f->exclude, ns);
    for (int i = 0; takes && f->exclude_collections[i] != NULL; i++)
        takes = strcmp(f->exclude_collections[i], coll) != 0;
    for (int i = 0; takes && f->exclude_prefixes[i] != NULL; i++)
        takes = strncmp(f->exclude_prefixes[i], coll, strlen(f->exclude_prefixes[i])) != 0;
    bson_free(ns);
    return takes;
}

static char *write_name(const struct pattern *from, const struct pattern *to, const struct match *m) {
    struct text name = {0};
    text_append(&name, "", 0);
    for (int i = 0, ordinal = 0; i < to->count; i++) {
        const struct piece *piece = &to->pieces[i];
        if (!piece->is_variable) {
            text_append(&name, &piece->literal, 1);
            continue;
        }
        int v = find_variable(from, piece, ordinal++);
        if (v >= 0) text_append(&name, m->begin[v], m->len[v]);
    }
    return name.p;
}

char *ns_filter_rename(const struct ns_filter *f, const char *ns) {
    struct pattern *from = bson_malloc(sizeof(*from)), *to = bson_malloc(sizeof(*to));
    struct match m;
    char *name = NULL;
    int i = 0;
    while (f->from[i] != NULL) i++;
    while (name == NULL && --i >= 0)
        if (check_pair(f->from[i], f->to[i], from, to) && match_pattern(from, ns, &m)) name = write_name(from, to, &m);
    bson_free(from);
    bson_free(to);
    return name != NULL ? name : bson_strdup(ns);
}
