/* Work that nobody waits for: folding the small posting blocks that writers leave in text indexes into full ones. Private to src/doc (db.h has
 * the two calls for those above). */
#ifndef ELMO_DOC_UPKEEP_H
#define ELMO_DOC_UPKEEP_H

#include "doc/db_state.h"

status upkeep_init(struct upkeep *u, struct err *err);
/* Stops the thread, forgets what is due. */
void upkeep_release(struct db *db);
/* A document of a text index has been written. */
void upkeep_note_text(struct db *db, struct collection *c, const struct index *ix);

#endif
