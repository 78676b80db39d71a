/* Dates as text, ISO 8601 in the proleptic Gregorian calendar. Pure; no locale, no time zone but what the text says. */
#ifndef ELMO_BSON_DATE_H
#define ELMO_BSON_DATE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/slice.h"

/* "2012-12-24", "2012-12-24T12:15:30.501Z", "...+01:00": milliseconds since 1970. Without a zone it is UTC. False when it is none. */
bool date_parse(struct slice text, int64_t *ms);
/* "1970-01-01T00:00:00Z", with ".501" when there are milliseconds. False for years outside 0000..9999. */
bool date_to_text(int64_t ms, char text[32]);
bool date_to_text_ms(int64_t ms, char text[32]); /* always with milliseconds */

/* A moment taken apart, in the proleptic Gregorian calendar. */
struct date_parts {
    int64_t year;
    unsigned month, day;           /* from 1 */
    unsigned hour, minute, second, ms;
    unsigned day_of_year;          /* 1..366 */
    unsigned day_of_week;          /* 1 Sunday .. 7 */
    unsigned week;                 /* 0..53, from Sunday; the days before the first Sunday are week 0 */
    int64_t iso_year;
    unsigned iso_week, iso_day;    /* ISO 8601: 1..53, 1 Monday .. 7 */
};
void date_take_apart(int64_t ms, struct date_parts *out);
/* Days since 1970-01-01; month 1..12, day may be any number. */
int64_t date_days(int64_t year, unsigned month, int64_t day);
unsigned date_days_in_month(int64_t year, unsigned month);
/* Of a Monday's week of that ISO year: days since 1970-01-01. */
int64_t date_iso_days(int64_t iso_year, int64_t iso_week, int64_t iso_day);
/* "Z", "UTC", "GMT", "+hh", "+hh:mm", "-hhmm": milliseconds east of UTC. False for names of places. */
bool date_offset_parse(struct slice text, int64_t *offset_ms);

enum date_unit { DATE_MS, DATE_SECOND, DATE_MINUTE, DATE_HOUR, DATE_DAY, DATE_WEEK, DATE_MONTH, DATE_QUARTER, DATE_YEAR };
/* "millisecond" .. "year". False for other words. */
bool date_unit_parse(struct slice name, enum date_unit *out);
/* Milliseconds of a unit up to the week; 0 for the longer ones, which are not all alike. */
int64_t date_unit_ms(enum date_unit unit);
/* So many units later: the same day of another month, or its last. False when it leaves 64 bits or, of months and longer units, is more than 1,000,000 of them. */
bool date_add_units(int64_t ms, enum date_unit unit, int64_t amount, int64_t *out);

#endif
