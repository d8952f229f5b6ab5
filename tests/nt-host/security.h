/* Who asks, and what he may do. As much of Windows' security as a control device needs: tokens with groups and a session, access
 * lists, and the decision. */
#ifndef TRUEMUTE_NT_HOST_SECURITY_H
#define TRUEMUTE_NT_HOST_SECURITY_H

#include "nt.h"

typedef struct {
    UCHAR Revision, SubAuthorityCount;
    UCHAR IdentifierAuthority[6];
    ULONG SubAuthority[8];
} Sid;

enum { MOST_GROUPS = 8, MOST_ENTRIES = 8 };

typedef struct {
    const char *name;
    Sid user;
    Sid groups[MOST_GROUPS];
    int group_count;
    ULONG session;
} Token;

typedef struct {
    bool allows;
    ULONG mask;
    Sid sid;
} Entry;

/* Whether it has a list at all: without one everybody may do everything. */
typedef struct {
    bool has_list, is_protected;
    Entry entries[MOST_ENTRIES];
    int count;
} Descriptor;

/* "system", "administrator", "console" (an ordinary user who sits there), "away" (one who did, in session 4), "remote" (one who does not), "guest", "service"; NULL
 * for anything else. */
const Token *security_token(const char *name);
/* Who calls from now on; gives who did before. */
const Token *security_set_caller(const Token *token);
bool security_allows(const Descriptor *descriptor, const Token *token, ULONG access);
/* Whose turn it is at the console from now on: another session; 1 at first. */
void security_set_console(ULONG session);
/* What IoCreateDevice gives a device: the system and administrators everything, everybody reading and writing. */
Descriptor security_default(void);

#endif
