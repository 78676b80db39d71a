/* A program that lets mongosh, Compass and drivers look into its live database while it runs. Usage: listen [FILE [PORT]]
 * With a PORT it serves until its input ends; without one it listens where the system chooses, says where, and stops. */
#include <elmo/server.h>
#include <stdio.h>
#include <stdlib.h>

static void
must (bool ok, const bson_error_t *error)
{
   if (!ok) {
      fprintf (stderr, "listen: %s (code %u)\n", error->message, error->code);
      exit (1);
   }
}

int
main (int argc, char **argv)
{
   bson_error_t error;
   elmo_t *db;
   bson_t opts = BSON_INITIALIZER;

   must (elmo_open (argc > 1 ? argv[1] : ":memory:", NULL, &db, &error), &error);
   BSON_APPEND_INT32 (&opts, "port", argc > 2 ? atoi (argv[2]) : 0);
   must (elmo_listen (db, &opts, &error), &error);
   bson_destroy (&opts);

   printf ("connect with: mongosh %s\n", elmo_listen_address (db));
   elmo_collection_t *visits = elmo_get_collection (db, "app", "visits");
   bson_t *doc = BCON_NEW ("page", BCON_UTF8 ("/"), "seconds", BCON_INT32 (12));
   must (elmo_collection_insert_one (visits, doc, NULL, NULL, &error), &error);
   bson_destroy (doc);
   elmo_collection_destroy (visits);

   while (argc > 2 && getchar () != EOF) {}
   elmo_close (db); /* the server stops first */
   return 0;
}
