/** The one function that the page uses; react-dom itself comes without types. */
declare module 'react-dom/client' {
  import type { ReactNode } from 'react';
  export function createRoot(container: Element): { readonly render: (node: ReactNode) => void };
}

/** Styles are bundled, not read. */
declare module '*.css';
