# elmo::elmo is the shared library, elmo::static the static one with what it needs; elmo::server and elmo::server_static serve over the network.
if(NOT TARGET elmo::elmo)
  add_library(elmo::elmo SHARED IMPORTED)
  set_target_properties(elmo::elmo PROPERTIES
    IMPORTED_LOCATION "${ELMO_LIBDIR}/libelmo.so"
    INTERFACE_INCLUDE_DIRECTORIES "${ELMO_INCLUDEDIR}"
    INTERFACE_LINK_LIBRARIES PkgConfig::ELMO_BSON)
  add_library(elmo::static STATIC IMPORTED)
  set_target_properties(elmo::static PROPERTIES
    IMPORTED_LOCATION "${ELMO_LIBDIR}/libelmo.a"
    INTERFACE_INCLUDE_DIRECTORIES "${ELMO_INCLUDEDIR}"
    INTERFACE_LINK_LIBRARIES "PkgConfig::ELMO_BSON;lz4;zstd;xxhash;pcre2-8;utf8proc;crypto;stemmer;bidgcc000;Threads::Threads;m")
  add_library(elmo::server SHARED IMPORTED)
  set_target_properties(elmo::server PROPERTIES
    IMPORTED_LOCATION "${ELMO_LIBDIR}/libelmo-server.so"
    INTERFACE_INCLUDE_DIRECTORIES "${ELMO_INCLUDEDIR}"
    INTERFACE_LINK_LIBRARIES elmo::elmo)
  add_library(elmo::server_static STATIC IMPORTED)
  set_target_properties(elmo::server_static PROPERTIES
    IMPORTED_LOCATION "${ELMO_LIBDIR}/libelmo-server.a"
    INTERFACE_INCLUDE_DIRECTORIES "${ELMO_INCLUDEDIR}"
    INTERFACE_LINK_LIBRARIES "elmo::static;uv;ssl;crypto;snappy;z;zstd;Threads::Threads")
endif()
