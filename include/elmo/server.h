/* elmo's server, in a library of its own (libelmo-server): MongoDB's wire protocol over TCP and unix sockets for a database that is open in this program.
 *
 *   elmo_t *db;
 *   elmo_open ("app.elmo", NULL, &db, &error);
 *   elmo_listen (db, BCON_NEW ("port", BCON_INT32 (27017)), &error);     now: mongosh mongodb://127.0.0.1:27017
 */
#ifndef ELMO_SERVER_H
#define ELMO_SERVER_H

#include <elmo/elmo.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Serves `db` from threads of its own until elmo_unlisten or elmo_close. Signals are left alone.
 *
 *   bindIp            string  addresses, separated by commas: numeric IPv4, IPv6, "localhost", or the path of a unix socket (default "127.0.0.1"; "" for none)
 *   port              number  (default 27017; 0: the system chooses, see elmo_listen_address)
 *   unixSocketPath    string  a unix socket to listen on too, mode 0600. Default: none
 *   auth              bool    clients must log in (default false)
 *   allowUnsafeBind   bool    an address that is not loopback is refused without `auth` unless this is true
 *   replicaSet        string  says it is the primary of a replica set of one
 *   tlsMode           string  "disabled" (default), "allowTLS", "preferTLS", "requireTLS"
 *   tlsCertificateKeyFile, tlsCAFile, tlsCertificateKeyFilePassword  string
 *   tlsAllowConnectionsWithoutCertificates  bool  with a tlsCAFile: certificates are checked when given, not asked for
 *   compressors       string  "snappy,zstd,zlib" (default), "disabled"
 *   maxConnections    number  (default 10000)
 *   threads           number  how many commands may run at once (default 64)
 *   argv, parsed      as elmo_set_service has them
 *   logPath           string  a file for the log, "-" for standard output (default: no log)
 *   quiet             bool    connections are not logged
 *
 * Errors: 2 (a wrong option), 40415 (an unknown one), 9001 SocketException (an address that cannot be bound; the message names it), 140 InvalidSSLConfiguration. */
ELMO_API bool elmo_listen (elmo_t *db, const bson_t *opts, bson_error_t *error);
/* Where it listens, as a URI: "mongodb://127.0.0.1:27017". NULL when it does not. Lives until elmo_unlisten. */
ELMO_API const char *elmo_listen_address (elmo_t *db);
/* Stops: no new connections, running commands end or are cancelled, replies that are ready are sent. Returns when all threads have ended. */
ELMO_API void elmo_unlisten (elmo_t *db);

/* Opens the log file anew (logPath), for whoever rotates it: move it away, then call this. */
ELMO_API bool elmo_listen_reopen_log (elmo_t *db, bson_error_t *error);
/* Writes a line of the program's own into the log, in mongod's form. `severity` is 'I', 'W' or 'E'; `attr` may be NULL. */
ELMO_API void elmo_listen_log (elmo_t *db, char severity, const char *component, int32_t id, const char *context, const char *message, const bson_t *attr);

#ifdef __cplusplus
}
#endif

#endif
