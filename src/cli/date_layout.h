/* Dates in CSV by a layout, as mongoimport's date(), date_ms() and date_oracle() take them. The layout shows the moment Mon Jan 2 15:04:05 2006 -0700 as it would be
 * written ("2006-01-02 15:04:05"); those of SQL Server and Oracle are translated to that. */
#ifndef ELMO_CLI_DATE_LAYOUT_H
#define ELMO_CLI_DATE_LAYOUT_H

#include "cli.h"

enum date_style { DATE_GO, DATE_MS, DATE_ORACLE };

/* The layout in the first style, to be freed with bson_free. */
char *date_layout_new(enum date_style style, const char *layout);
/* Milliseconds since 1970. False when the text does not follow the layout or is no date. */
bool date_layout_parse(const char *layout, const char *text, int64_t *ms);

#endif
