/** A firewall of the host, with what its chains in iptables and its tables in nft are called. */
type Firewall = { readonly name: string; readonly chains: RegExp; readonly tables: RegExp };

/** Firewalls that can be told by the names that they give their chains and tables. Sources: their own scripts. */
export const FIREWALLS: readonly Firewall[] = [
  {
    name: 'firewalld',
    chains:
      /^((FORWARD|INPUT|OUTPUT|PREROUTING|POSTROUTING)_(direct|ZONES|ZONES_SOURCE|IN_ZONES|IN_ZONES_SOURCE|OUT_ZONES|OUT_ZONES_SOURCE|POLICIES_pre|POLICIES_post)|(IN|FWD|FWDI|FWDO|PRE|POST|OUT)_[a-z].*)$/,
    tables: /^firewalld(-.*)?$/,
  },
  { name: 'ufw', chains: /^ufw6?-/, tables: /^ufw$/ },
  { name: 'fail2ban', chains: /^(f2b|fail2ban)-/, tables: /^f2b-/ },
  { name: 'CrowdSec', chains: /^CROWDSEC/, tables: /^crowdsec/ },
  { name: 'Imunify360', chains: /^(imunify360|i360)/i, tables: /^imunify360/ },
  { name: 'sshguard', chains: /^sshguard$/, tables: /^sshguard$/ },
  { name: 'pve-firewall', chains: /^PVEFW-/, tables: /^proxmox-firewall/ },
  {
    name: 'ConfigServer Firewall',
    chains: /^(LOCALINPUT|LOCALOUTPUT|DENYIN|DENYOUT|ALLOWIN|ALLOWOUT|LOGDROPIN|LOGDROPOUT|INVDROP)$/,
    tables: /^csf$/,
  },
  { name: 'SuSEfirewall2', chains: /^(input|forward)_(ext|int|dmz)$|^reject_func$/, tables: /^SuSEfirewall2$/ },
  { name: 'system-config-firewall', chains: /^RH-Firewall-\d/, tables: /^RH-Firewall$/ },
  { name: 'NixOS firewall', chains: /^nixos-fw/, tables: /^nixos-fw$/ },
];
