/* Rows of CSV and TSV.
 *
 * CSV as RFC 4180 with the liberties of mongoimport: blanks before a field are dropped, rows may have any number of fields, a quote inside an unquoted field
 * is a character like any other, CR LF ends a row as LF does, empty lines are passed over. In quotes, "" is a quote, and commas and line ends are text.
 * TSV has no quotes: a row is a line, a field what stands between tabs. */
#ifndef ELMO_CLI_CSV_H
#define ELMO_CLI_CSV_H

#include "input.h"

struct csv_field {
    size_t at, len; /* in the row's bytes */
};

struct csv_row {
    char *bytes; /* fields end to end, each with a NUL behind it */
    size_t used, cap;
    struct csv_field *fields;
    size_t count, field_cap;
    size_t line; /* on which it begins */
    char error[200];
};

enum csv_result { CSV_ROW, CSV_END, CSV_BAD }; /* BAD: row->error; the input stands behind the row's first line */

/* The next row. It lives until the next call. */
enum csv_result csv_next(struct input *in, bool is_tsv, struct csv_row *row);
void csv_row_release(struct csv_row *row);

#endif
