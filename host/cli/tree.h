#ifndef DEAI_HOST_CLI_TREE_H
#define DEAI_HOST_CLI_TREE_H

#include "cli.h"

/* Folders on this machine and UnixFS directories in the node's blocks: `deai store add FOLDER` and
   `deai store get CID -o NEW-FOLDER`.

   The names inside a directory are hostile: one that is empty, ".", "..", longer than 255 bytes or
   holds '/' is refused, and everything below the new folder is opened with openat2(2)
   RESOLVE_BENEATH and RESOLVE_NO_SYMLINKS, so nothing outside it is touched even when somebody
   swaps a folder for a link meanwhile. Symbolic links are made with links only.

   Threads  one
   Limits   CLI_TREE_MAX entries, CLI_TREE_DEPTH_MAX folders deep; a folder that is added has at
            most the entries whose names and CIDs fit a call's arguments (about 600)
   Caveats  What was written before an error stays, and the error names the path. */

#define CLI_TREE_MAX       1000000u
#define CLI_TREE_DEPTH_MAX 128u

typedef struct cli_tree_done {
  uint64_t files;
  uint64_t folders;
  uint64_t links;
  uint64_t bytes;
} cli_tree_done;

/* cli_tree_kind asks the node what cid (with path below it, may be NULL) is: DEAI_BLOCKS_FILE, _DIR
   or _LINK, and its own CID and size. A negative status with a reason. */
DEAI_MUST_CHECK int32_t cli_tree_kind(deai_client *client, deai_bytes cid, const char *path,
                                      uint8_t own[DEAI_CID_MAX], uint64_t *own_len,
                                      uint64_t *size_out, char *why, uint32_t why_cap);

/* cli_tree_get writes the directory cid as the new folder `place`. Statuses: DEAI_EDENIED for a
   hostile name or a link that is not allowed, DEAI_EINVAL when the place exists, and what the node
   says; out counts what was written. */
DEAI_MUST_CHECK int32_t cli_tree_get(deai_client *client, deai_bytes cid, const char *place,
                                     bool links, cli_tree_done *out, char *why, uint32_t why_cap);

/* cli_tree_add adds the folder `path` with all that is in it, files first, and pins the whole. A
   link or another thing that is neither file nor folder is refused: DEAI_EUNSUPPORTED. Returns an
   exit code, after printing why. */
int cli_tree_add(const cli *line, deai_client *client, const char *path, bool pin,
                 uint8_t cid[DEAI_CID_MAX], uint64_t *cid_len, uint64_t *bytes_out);

#endif
