/* Who may do what, as long as nobody can log in: a client that is trusted, or served without `auth`, may do everything, any other only what is for anybody. */
#include "base/codes.h"
#include "command/auth.h"

void principal_free(struct principal *p) {
    if (p == NULL) return;
    const struct mem *mem = p->mem;
    arena_release(&p->arena);
    mem_delete(mem, p);
}

void auth_talk_free(struct auth_talk *talk) { (void) talk; }

bool auth_is_required(const struct client *client) {
    return !client->is_trusted && client->principal == NULL &&
        atomic_load_explicit(&client->env->service.asks_login, memory_order_acquire);
}

status command_authorize(const struct command_call *call, unsigned access, struct slice db, struct err *err) {
    (void) db;
    if ((access & ACCESS_ANYBODY) != 0 || !auth_is_required(call->client)) return ST_OK;
    return RAISE_CODE(err, CODE_Unauthorized, "Command %s requires authentication", call->command->name);
}
