/* The columns of CSV and TSV: names (dots nest), types, and rows made into documents. */
#ifndef ELMO_CLI_COLUMNS_H
#define ELMO_CLI_COLUMNS_H

#include "csv.h"
#include "field_list.h"

/* What happens to a value that is not of its column's type. */
enum parse_grace { GRACE_STOP, GRACE_AUTO_CAST, GRACE_SKIP_FIELD, GRACE_SKIP_ROW };

struct column;
struct column_node;
struct cell;

struct columns {
    struct column *columns;
    struct cell *cells; /* of the row at hand */
    size_t count;
    struct column_node *nodes; /* the tree of names; nodes[0] is the document */
    size_t node_count;
    enum parse_grace grace;
    bool ignore_blanks, use_arrays;
};

bool parse_grace_of(const char *text, enum parse_grace *out);
/* Takes the names; `typed`: each is NAME.TYPE(ARGUMENT). Complains with `what` of names that are wrong or contradict each other. Release it in either
 * case. */
bool columns_init(struct columns *c, const struct field_list *names, bool typed, const char *what);
/* The row as a document. False with row->error set; *skip then tells that the row is to be passed over (told, but not a failure). */
bool columns_document(struct columns *c, struct csv_row *row, bson_t *out, bool *skip);
void columns_release(struct columns *c);

#endif
