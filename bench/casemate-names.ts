/** What Casemate is called among the targets, for whoever needs no daemons. */

export const casemateName = 'Casemate';
/** The same export over TCP instead of a Unix socket. */
export const casemateTcpName = 'Casemate, clients over TCP';
/** A pair whose sites talk TLS. */
export const casemateTlsName = 'Casemate, TLS between the sites';
