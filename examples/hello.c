/* The first five minutes: open a file, insert, index, find. Usage: hello [FILE] */
#include <elmo/elmo.h>
#include <stdio.h>
#include <stdlib.h>

static void
must (bool ok, const bson_error_t *error)
{
   if (!ok) {
      fprintf (stderr, "hello: %s (code %u)\n", error->message, error->code);
      exit (1);
   }
}

int
main (int argc, char **argv)
{
   bson_error_t error;
   elmo_t *db;
   const bson_t *found;
   const char *names[] = {"Ada", "Grace", "Barbara", "Edsger"};

   must (elmo_open (argc > 1 ? argv[1] : ":memory:", NULL, &db, &error), &error);
   elmo_collection_t *people = elmo_get_collection (db, "app", "people");
   must (elmo_collection_drop (people, &error), &error);

   for (int i = 0; i < 4; i++) {
      bson_t *doc = BCON_NEW ("name", BCON_UTF8 (names[i]), "age", BCON_INT32 (36 + 7 * i), "tags", "[", BCON_UTF8 ("pioneer"), "]");
      must (elmo_collection_insert_one (people, doc, NULL, NULL, &error), &error);
      bson_destroy (doc);
   }

   const bson_t *spec = BCON_NEW ("key", "{", "age", BCON_INT32 (1), "}");
   must (elmo_collection_create_indexes_with_opts (people, &spec, 1, NULL, NULL, &error), &error);
   bson_destroy ((bson_t *) spec);

   bson_t filter, opts;
   must (elmo_json_parse ("{age: {$gt: 40}, tags: 'pioneer'}", -1, &filter, NULL, NULL, &error), &error);
   must (elmo_json_parse ("{sort: {age: -1}, projection: {_id: 0, name: 1, age: 1}}", -1, &opts, NULL, NULL, &error), &error);
   elmo_cursor_t *cursor = elmo_collection_find_with_opts (people, &filter, &opts);
   int rows = 0;
   while (elmo_cursor_next (cursor, &found)) {
      char *json = bson_as_relaxed_extended_json (found, NULL);
      puts (json);
      bson_free (json);
      rows++;
   }
   must (!elmo_cursor_error (cursor, &error), &error);

   elmo_cursor_destroy (cursor);
   bson_destroy (&filter);
   bson_destroy (&opts);
   elmo_collection_destroy (people);
   elmo_close (db);
   return rows == 3 ? 0 : 1;
}
