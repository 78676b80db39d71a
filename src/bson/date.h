/* Dates as text, ISO 8601 in the proleptic Gregorian calendar. Pure; no locale, no time zone but what the text says. */
#ifndef ELMO_BSON_DATE_H
#define ELMO_BSON_DATE_H

#include "base/slice.h"

/* "2012-12-24", "2012-12-24T12:15:30.501Z", "...+01:00": milliseconds since 1970. Without a zone it is UTC. False when it is none. */
bool date_parse(struct slice text, int64_t *ms);
/* "1970-01-01T00:00:00Z", with ".501" when there are milliseconds. False for years outside 0000..9999. */
bool date_to_text(int64_t ms, char text[32]);

#endif
