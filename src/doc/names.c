/* The rules for names of databases and collections: MongoDB's, on a Unix system. */
#include "doc/catalog.h"

#include <stdio.h>

#include "base/codes.h"

#define DB_NAME_LEN_MAX 63
#define NS_LEN_MAX 255 /* database, dot, collection */

/* Every find comes by here. */
static bool has_forbidden(struct slice s) {
    for (size_t i = 0; i < s.len; i++) {
        switch (s.p[i]) {
        case '/':
        case '\\':
        case '.':
        case ' ':
        case '"':
        case '$':
        case '\0': return true;
        default: break;
        }
    }
    return false;
}

static bool contains(struct slice s, uint8_t byte) { return s.len != 0 && memchr(s.p, byte, s.len) != NULL; }

static bool has_part(struct slice s, struct slice part) { return memmem(s.p, s.len, part.p, part.len) != NULL; }

status ns_check(struct ns ns, bool for_write, struct err *err) {
    int db_len = (int) (ns.db.len < 300 ? ns.db.len : 300), coll_len = (int) (ns.coll.len < 300 ? ns.coll.len : 300);
    const char *db = ns.db.len != 0 ? (const char *) ns.db.p : "",
               *coll = ns.coll.len != 0 ? (const char *) ns.coll.p : "";
    bool is_external =
        !for_write && slice_equal(ns.db, SLICE_LIT("$external")); /* of users with certificates; never written to */
    if (ns.db.len == 0 || ns.db.len > DB_NAME_LEN_MAX || (has_forbidden(ns.db) && !is_external))
        return RAISE_CODE(err, CODE_InvalidNamespace, "Invalid database name: '%.*s'", db_len, db);
    if (ns.coll.len == 0 || ns.coll.p[0] == '.' || contains(ns.coll, '$') || contains(ns.coll, 0))
        return RAISE_CODE(err, CODE_InvalidNamespace, "Invalid namespace specified '%.*s.%.*s'", db_len, db, coll_len,
                          coll);
    if (ns.db.len + 1 + ns.coll.len > NS_LEN_MAX)
        return RAISE_CODE(err, CODE_InvalidNamespace,
                          "Fully qualified namespace is too long. Namespace: %.*s.%.*s Max: %d", db_len, db, coll_len,
                          coll, NS_LEN_MAX);
    if (for_write && (slice_starts_with(ns.coll, SLICE_LIT("system.")) || has_part(ns.coll, SLICE_LIT(".system."))))
        return RAISE_CODE(err, CODE_InvalidNamespace, "Invalid system namespace: %.*s.%.*s", db_len, db, coll_len,
                          coll);
    return ST_OK;
}

void ns_text(struct ns ns, char text[NS_TEXT_LEN]) {
    (void) snprintf(text, NS_TEXT_LEN, "%.*s.%.*s", (int) (ns.db.len < 64 ? ns.db.len : 64), (const char *) ns.db.p,
                    (int) (ns.coll.len < 192 ? ns.coll.len : 192), (const char *) ns.coll.p);
}
