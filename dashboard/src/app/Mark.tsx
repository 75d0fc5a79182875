/** The sign of emqttd: waves that leave a point. */
export function Mark({ size }: { size: number }) {
  return (
    <svg width={size} height={size} viewBox="0 0 32 32" aria-hidden focusable="false">
      <rect width="32" height="32" rx="7" fill="#0b7285" />
      <g fill="none" stroke="#fff" strokeWidth="2.6" strokeLinecap="round">
        <path d="M8 11a13 13 0 0 1 13 13" />
        <path d="M8 17a7 7 0 0 1 7 7" />
        <path d="M13 7a17 17 0 0 1 12 12" opacity=".55" />
      </g>
      <circle cx="9.3" cy="22.7" r="2.3" fill="#fff" />
    </svg>
  );
}
